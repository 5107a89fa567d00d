// The bill of materials: what a package holds that others wrote, as CycloneDX 1.5 JSON.

function hashes(integrity) {
  const [algorithm, digest] = integrity.split('-');
  return algorithm === 'sha512' ? [{ alg: 'SHA-512', content: Buffer.from(digest, 'base64').toString('hex') }] : [];
}

function npmComponent({ name, version, license, integrity }) {
  return {
    type: 'library',
    'bom-ref': `npm:${name}@${version}`,
    name,
    version,
    purl: `pkg:npm/${name.replace('@', '%40')}@${version}`,
    ...(license ? { licenses: [{ expression: license }] } : {}),
    hashes: hashes(integrity),
  };
}

function debianComponent({ name, version, license }) {
  return {
    type: 'library',
    'bom-ref': `deb:${name}@${version}`,
    name,
    version,
    purl: `pkg:deb/debian/${name}@${encodeURIComponent(version)}?arch=source`,
    licenses: [{ expression: license }],
  };
}

/**
 * @param {{ name: string, version: string, license: string }} product
 * @param {{ name: string, version: string, license?: string, integrity: string }[]} npm packages of the npm registry
 * @param {{ name: string, version: string, license: string }[]} libraries Debian source packages linked into the native library
 * @param {number} epoch seconds; the only time in it, so that two builds give the same bytes
 */
export function billOfMaterials(product, npm, libraries, epoch) {
  const components = [...npm.map(npmComponent), ...libraries.map(debianComponent)].sort((a, b) =>
    a['bom-ref'] < b['bom-ref'] ? -1 : 1,
  );
  const own = `npm:${product.name}@${product.version}`;
  return {
    bomFormat: 'CycloneDX',
    specVersion: '1.5',
    version: 1,
    metadata: {
      timestamp: new Date(epoch * 1000).toISOString(),
      component: {
        type: 'application',
        'bom-ref': own,
        name: product.name,
        version: product.version,
        licenses: [{ expression: product.license }],
      },
    },
    components,
    dependencies: [{ ref: own, dependsOn: components.map((component) => component['bom-ref']) }],
  };
}
