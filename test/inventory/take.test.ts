import { cpSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { TracerError } from '../../src/errors.js';
import { type InventoryOptions, takeInventory } from '../../src/inventory/take.js';
import type { InventoryItem } from '../../src/inventory/types.js';
import { packageRoot } from '../../src/package-root.js';
import { run, runOk } from '../e2e/support/run.js';
import { add, type Entry, goProgram, makeTree, pom, removeTree, zip } from './tree.js';

const MODULES = fileURLToPath(new URL('../../node_modules', import.meta.url));

const trees: string[] = [];
afterEach(() => {
  for (const tree of trees.splice(0)) removeTree(tree);
});
function tree(entries: Readonly<Record<string, Entry>>): string {
  const root = makeTree(entries);
  trees.push(root);
  return root;
}

const inventory = (entries: Readonly<Record<string, Entry>>, options: InventoryOptions = {}) =>
  takeInventory({ ...options, root: tree(entries) });
/** Of each item what a reader of the table would compare. */
const rows = (items: readonly InventoryItem[]) =>
  items.map(({ kind, name, version, path, status }) => [kind, name, version, path, status]);
const found = async (entries: Readonly<Record<string, Entry>>) => rows((await inventory(entries)).items);

const metadata = (name: string, version: string): string =>
  `Metadata-Version: 2.1\nName: ${name}\nVersion: ${version}\nSummary: x\n\nVersion: 99 is in the description\n`;
const JAVA = 'credentials-java';
const HEADER = 'X-aliyun-ecs-metadata-token';

describe('what pip installed', () => {
  it('is found as dist-info, as egg-info that is a folder or a file, and in eggs', async () => {
    expect(
      await found({
        'usr/lib/python3/dist-packages/alibabacloud_credentials-0.3.5.dist-info/METADATA': metadata(
          'alibabacloud_credentials',
          '0.3.5',
        ),
        'venv/lib/python3.11/site-packages/alibabacloud_credentials-0.3.6.dist-info/METADATA': metadata(
          'alibabacloud-credentials',
          '0.3.6',
        ),
        'opt/a/site-packages/botocore-1.13.24.egg-info/PKG-INFO': metadata('botocore', '1.13.24'),
        'opt/b/dist-packages/boto3-1.26.27.egg-info': metadata('boto3', '1.26.27'),
        'opt/c/site-packages/aliyun_python_sdk_core-2.13.36-py3.9.egg/EGG-INFO/PKG-INFO': metadata(
          'aliyun-python-sdk-core',
          '2.13.36',
        ),
        'opt/d/site-packages/requests-2.0.dist-info/METADATA': metadata('requests', '2.0'),
      }),
    ).toEqual([
      ['pip', 'botocore', '1.13.24', '/opt/a/site-packages/botocore-1.13.24.egg-info/PKG-INFO', 'too_old'],
      ['pip', 'boto3', '1.26.27', '/opt/b/dist-packages/boto3-1.26.27.egg-info', 'ok'],
      [
        'pip',
        'aliyun-python-sdk-core',
        '2.13.36',
        '/opt/c/site-packages/aliyun_python_sdk_core-2.13.36-py3.9.egg/EGG-INFO/PKG-INFO',
        'unknown',
      ],
      [
        'pip',
        'alibabacloud_credentials',
        '0.3.5',
        '/usr/lib/python3/dist-packages/alibabacloud_credentials-0.3.5.dist-info/METADATA',
        'too_old',
      ],
      [
        'pip',
        'alibabacloud-credentials',
        '0.3.6',
        '/venv/lib/python3.11/site-packages/alibabacloud_credentials-0.3.6.dist-info/METADATA',
        'ok',
      ],
    ]);
  });
});

describe('what npm installed', () => {
  it('is found as it really lies there, under its own name and under another', async () => {
    const root = tree({});
    const target = join(root, 'srv/app/node_modules');
    mkdirSync(target, { recursive: true });
    for (const name of ['.package-lock.json', '@alicloud/credentials', 'alicloud-credentials-2.3.0']) {
      cpSync(join(MODULES, name), join(target, name), { recursive: true });
    }
    const { items } = await takeInventory({ root });
    expect(rows(items)).toEqual([
      ['npm', '@alicloud/credentials', '2.4.7', '/srv/app/node_modules/@alicloud/credentials/package.json', 'ok'],
      [
        'npm',
        '@alicloud/credentials',
        '2.3.0',
        '/srv/app/node_modules/alicloud-credentials-2.3.0/package.json',
        'too_old',
      ],
    ]);
    expect(items.map(({ may_fall_back }) => may_fall_back)).toEqual([true, true]);
    expect(items[0]!.advice).toBe(
      'Set ALIBABA_CLOUD_IMDSV1_DISABLED=true in its environment, or disableIMDSv1: true in the Config, so that it never ' +
        'asks without a token.',
    );
    // The vendor's own minimum does not use tokens.
    expect(items[1]!.advice).toMatch(/^Raise it from 2\.3\.0 to 2\.4\.0 or later\. .*2\.3\.1.*Then set ALIBABA_CLOUD_/);
  });

  it('is found in pnpm’s store of an application and in both of Yarn’s caches', async () => {
    const manifest = (version: string) => JSON.stringify({ name: '@alicloud/credentials', version });
    const inside = 'node_modules/@alicloud/credentials/package.json';
    const archive = 'y/.yarn/cache/@alicloud-credentials-npm-2.3.1-0123456789-8.zip';
    expect(
      await found({
        [`p/node_modules/.pnpm/@alicloud+credentials@2.3.2/${inside}`]: manifest('2.3.2'),
        'p/node_modules/@alicloud/credentials': { link: '../.pnpm/@alicloud+credentials@2.3.2/node_modules/x' },
        [archive]: zip([{ name: inside, content: manifest('2.3.1') }]),
        [`c/npm-@alicloud-credentials-2.4.0-0a1b-integrity/${inside}`]: manifest('2.4.0'),
        // Another package under that name, and one that is no package of a folder of packages.
        'o/node_modules/aws-sdk/package.json': JSON.stringify({ name: 'mock', version: '1.0.0' }),
        'o/aws-sdk/package.json': JSON.stringify({ name: 'aws-sdk', version: '2.0.0' }),
      }),
    ).toEqual([
      ['npm', '@alicloud/credentials', '2.4.0', `/c/npm-@alicloud-credentials-2.4.0-0a1b-integrity/${inside}`, 'ok'],
      [
        'npm',
        '@alicloud/credentials',
        '2.3.2',
        `/p/node_modules/.pnpm/@alicloud+credentials@2.3.2/${inside}`,
        'too_old',
      ],
      ['npm', '@alicloud/credentials', '2.3.1', `/${archive}!/${inside}`, 'too_old'],
    ]);
  });
});

describe('jars', () => {
  const library = (version: string) =>
    zip([{ name: 'META-INF/MANIFEST.MF', content: 'x' }, pom('com.aliyun', JAVA, version)]);

  it('are known by what Maven put into them, and else by their name', async () => {
    expect(
      await found({
        'a/renamed.jar': library('0.3.9'),
        'a/credentials-java-0.3.10.jar': library('0.3.10'),
        // Merged into one jar with others, as build tools do.
        'a/uber.jar': zip([
          pom('org.other', 'other', '1'),
          pom('com.aliyun', JAVA, '0.2.4'),
          pom('software.amazon.awssdk', 'auth', '2.20.1'),
        ]),
        'a/credentials-java-0.3.4.jar': zip([{ name: 'x.class', content: '' }]),
        'a/credentials-java-0.3.5-sources.jar': zip([]),
        'a/auth-2.1.0.jar': zip([{ name: 'x.class', content: '' }]),
      }),
    ).toEqual([
      ['jar', 'com.aliyun:credentials-java', '0.3.10', '/a/credentials-java-0.3.10.jar', 'ok'],
      ['jar', 'com.aliyun:credentials-java', '0.3.4', '/a/credentials-java-0.3.4.jar', 'too_old'],
      ['jar', 'com.aliyun:credentials-java', '0.3.9', '/a/renamed.jar', 'too_old'],
      ['jar', 'com.aliyun:credentials-java', '0.2.4', '/a/uber.jar', 'too_old'],
      ['jar', 'software.amazon.awssdk:auth', '2.20.1', '/a/uber.jar', 'ok'],
    ]);
  });

  it('are found in Spring Boot’s, stored and behind a script, in wars and in wars of ears', async () => {
    const boot = zip(
      [{ name: 'BOOT-INF/lib/credentials-java-0.3.4.jar', content: library('0.3.4'), stored: true }],
      Buffer.from('#!/bin/sh\nexec java -jar "$0"\n'),
    );
    const war = zip([{ name: 'WEB-INF/lib/library.jar', content: library('0.3.6') }]);
    expect(
      await found({ 'boot.jar': boot, 'app.war': war, 'all.ear': zip([{ name: 'web/app.war', content: war }]) }),
    ).toEqual([
      ['jar', 'com.aliyun:credentials-java', '0.3.6', '/all.ear!/web/app.war!/WEB-INF/lib/library.jar', 'too_old'],
      ['jar', 'com.aliyun:credentials-java', '0.3.6', '/app.war!/WEB-INF/lib/library.jar', 'too_old'],
      ['jar', 'com.aliyun:credentials-java', '0.3.4', '/boot.jar!/BOOT-INF/lib/credentials-java-0.3.4.jar', 'too_old'],
    ]);
  });

  it('that the jar command made are read', async ({ skip }) => {
    const jar = (await run(['which', 'jar'])).stdout.trim();
    if (jar === '') skip('needs the jar command of a JDK');
    const root = tree({ 'in/META-INF/maven/com.aliyun/credentials-java/pom.properties': 'version=0.3.7\n' });
    await runOk([jar, '--create', '--file', join(root, 'made.jar'), '-C', join(root, 'in'), '.']);
    expect(rows((await takeInventory({ root })).items)).toEqual([
      ['jar', 'com.aliyun:credentials-java', '0.3.7', '/made.jar', 'too_old'],
    ]);
  });

  it('nested without end, or that inflate without end, are given up and said', async () => {
    let nested = library('0.3.1');
    for (let i = 0; i < 8; i++) nested = zip([{ name: `n${i}.jar`, content: nested, stored: i % 2 === 0 }]);
    const zeros = Buffer.alloc(70 * 1024 * 1024);
    const result = await inventory({
      'nested.jar': nested,
      'large.war': zip([{ name: 'WEB-INF/lib/credentials-java-0.3.2.jar', content: zeros }]),
      // Says that it is small.
      'liar.war': zip([{ name: 'WEB-INF/lib/credentials-java-0.3.3.jar', content: zeros, claims: 1000 }]),
    });
    expect(result.complete).toBe(false);
    expect(result.problems.map(({ reason }) => reason).sort()).toEqual(['too_deep', 'too_large', 'unreadable']);
    // The names tell what they are all the same.
    expect(rows(result.items).map(([, , version]) => version)).toEqual(['0.3.2', '0.3.3']);
    expect(result.scanned.bytes_read).toBeLessThan(10 * 1024 * 1024);
  });
});

describe('other package managers', () => {
  it('Composer’s lists of both versions, gems, and the AWS CLI’s own installer', async () => {
    const packages = [
      { name: 'alibabacloud/credentials', version: '1.1.6' },
      { name: 'aws/aws-sdk-php', version: '3.300.0' },
    ];
    expect(
      await found({
        'one/vendor/composer/installed.json': JSON.stringify(packages),
        'two/vendor/composer/installed.json': JSON.stringify({ packages: [{ ...packages[0], version: 'v1.2.0' }] }),
        'gems/specifications/aws-sdk-core-3.78.0.gemspec': '',
        'usr/local/aws-cli/v2/2.13.0/dist/aws': { program: 'x' },
      }),
    ).toEqual([
      ['gem', 'aws-sdk-core', '3.78.0', '/gems/specifications/aws-sdk-core-3.78.0.gemspec', 'too_old'],
      ['composer', 'alibabacloud/credentials', '1.1.6', '/one/vendor/composer/installed.json', 'too_old'],
      ['composer', 'aws/aws-sdk-php', '3.300.0', '/one/vendor/composer/installed.json', 'ok'],
      ['composer', 'alibabacloud/credentials', 'v1.2.0', '/two/vendor/composer/installed.json', 'ok'],
      ['program', 'aws-cli', '2.13.0', '/usr/local/aws-cli/v2/2.13.0/dist/aws', 'ok'],
    ]);
  });

  it('dpkg, distroless images, apk', async () => {
    const paragraph = (name: string, status: string, version: string) =>
      `Package: ${name}\nStatus: ${status}\nArchitecture: all\nVersion: ${version}\nDescription: x\n about cloud-init\n`;
    expect(
      await found({
        'var/lib/dpkg/status': [
          paragraph('cloud-init', 'install ok installed', '22.4.2-1+deb12u1'),
          paragraph('bash', 'install ok installed', '5.2'),
          paragraph('ossfs', 'deinstall ok config-files', '1.80.6'),
        ].join('\n'),
        'var/lib/dpkg/status.d/awscli': 'Package: awscli\nVersion: 2.9.19-1\n',
        'lib/apk/db/installed': 'C:Q1=\nP:cloud-init\nV:23.4.3-r0\n\nP:musl\nV:1\n',
        'home/dpkg/status': paragraph('cloud-init', 'install ok installed', '1.0'),
      }),
    ).toEqual([
      ['package', 'cloud-init', '23.4.3-r0', '/lib/apk/db/installed', 'ok'],
      ['package', 'cloud-init', '22.4.2-1+deb12u1', '/var/lib/dpkg/status', 'unknown'],
      ['package', 'awscli', '2.9.19-1', '/var/lib/dpkg/status.d/awscli', 'ok'],
    ]);
  });
});

describe('cloud-init', () => {
  const system = (dataSource: string): Record<string, Entry> => ({
    'var/lib/dpkg/status': 'Package: cloud-init\nStatus: install ok installed\nVersion: 22.4.2-1\n',
    'usr/lib/python3/dist-packages/cloudinit/version.py': '__VERSION__ = "22.4.2"\n_PACKAGED = "x"\n',
    'usr/lib/python3/dist-packages/cloudinit/sources/DataSourceAliYun.py': dataSource,
  });
  const path = '/usr/lib/python3/dist-packages/cloudinit/sources/DataSourceAliYun.py';

  it('is judged by what its data source can do, whatever the version', async () => {
    expect(await found(system('class DataSourceAliYun: pass\n'))).toEqual([
      ['cloud-init', 'DataSourceAliYun', '22.4.2', path, 'too_old'],
      ['package', 'cloud-init', '22.4.2-1', '/var/lib/dpkg/status', 'too_old'],
    ]);
    expect(await found(system(`imdsv2_token_put_header = "${HEADER}"\n`))).toEqual([
      ['cloud-init', 'DataSourceAliYun', '22.4.2', path, 'ok'],
      ['package', 'cloud-init', '22.4.2-1', '/var/lib/dpkg/status', 'ok'],
    ]);
  });
});

describe('programs', () => {
  const modules = (version: string) => [
    'path\tgithub.com/acme/agent',
    'mod\tgithub.com/acme/agent\t(devel)\t',
    `dep\tgithub.com/aliyun/credentials-go\t${version}\th1:x=`,
    'dep\tgithub.com/aws/aws-sdk-go\tv1.25.37\th1:x=',
  ];

  it('of Go tell their modules, as new and as old versions of Go write them, with and without names of sections', async () => {
    expect(
      await found({
        'usr/bin/agent': { program: goProgram(modules('v1.3.10')) },
        'usr/bin/older': { program: goProgram(modules('v1.2.3'), 'pointers') },
        'usr/bin/stripped': { program: goProgram(['dep\tgithub.com/aliyun/credentials-go\tv1.3.9'], 'inline', false) },
        'usr/bin/replaced': {
          program: goProgram(['dep\tgithub.com/aliyun/credentials-go\tv1.3.9', '=>\tgithub.com/acme/fork\tv1.4.0']),
        },
        // Not to be run.
        'usr/lib/agent': goProgram(modules('v1.3.9')),
      }),
    ).toEqual([
      ['go', 'github.com/aliyun/credentials-go', 'v1.3.10', '/usr/bin/agent', 'ok'],
      ['go', 'github.com/aws/aws-sdk-go', 'v1.25.37', '/usr/bin/agent', 'too_old'],
      ['go', 'github.com/aliyun/credentials-go', 'v1.2.3', '/usr/bin/older', 'too_old'],
      ['go', 'github.com/aws/aws-sdk-go', 'v1.25.37', '/usr/bin/older', 'too_old'],
      ['go', 'github.com/aliyun/credentials-go', 'v1.4.0', '/usr/bin/replaced', 'ok'],
      ['go', 'github.com/aliyun/credentials-go', 'v1.3.9', '/usr/bin/stripped', 'too_old'],
    ]);
  });

  it('that are known by name are too old when the header’s name is nowhere in them', async () => {
    const program = goProgram([]);
    const header = Buffer.from(`xx${HEADER}`);
    expect(
      await found({
        'usr/bin/ossfs': { program },
        // It may have the header for another part of it.
        'usr/bin/ossutil': { program: Buffer.concat([program, header]) },
        // Across the border of two pieces that are read.
        'usr/local/bin/ossfs': {
          program: Buffer.concat([program, Buffer.alloc(1024 * 1024 - program.length - 9), header]),
        },
      }),
    ).toEqual([
      ['program', 'ossfs', null, '/usr/bin/ossfs', 'too_old'],
      ['program', 'ossutil', null, '/usr/bin/ossutil', 'unknown'],
      ['program', 'ossfs', null, '/usr/local/bin/ossfs', 'ok'],
    ]);
  });
});

describe('scripts and units', () => {
  const URL_ALIBABA = 'http://100.100.100.200/latest/meta-data/instance-id';

  it('that ask without a word of a token are told from those that do not', async () => {
    expect(
      await found({
        'a/asks.sh': `curl ${URL_ALIBABA}\n`,
        'a/dated.sh': 'curl http://100.100.100.200:80//2016-01-01/Meta-Data/\n',
        'a/program': { program: `#!/usr/bin/python3\nurlopen("${URL_ALIBABA}")\n` },
        'a/module.py': `requests.get("${URL_ALIBABA}")\n`,
        'a/unit.service': `[Service]\nExecStart=/usr/bin/curl ${URL_ALIBABA}\n`,
        'etc/cron.d/job': `* * * * * root curl ${URL_ALIBABA}\n`,
        'a/aws.sh': 'wget -qO- http://169.254.169.254/latest/meta-data/\n',
        'a/huawei.sh': 'curl http://169.254.169.254/openstack/latest/meta_data.json\n',
        'a/variable.sh': 'BASE=100.100.100.200\ncurl http://$BASE/latest/meta-data/\n',
        // With a token, in a comment, another cloud's, a firewall's, a longer address, a library's, not a script.
        'b/token.sh': `curl -H "${HEADER.toUpperCase()}: $T" ${URL_ALIBABA}\n`,
        'b/comment.sh': `# curl ${URL_ALIBABA}\n`,
        'b/google.sh': 'curl http://169.254.169.254/computeMetadata/v1/ -H Metadata-Flavor:Google\n',
        'b/azure.sh': 'curl "http://169.254.169.254/metadata/instance?api-version=2021"\n',
        'b/firewall.sh': 'iptables -A OUTPUT -d 100.100.100.200 -j DROP\n',
        'b/longer.sh': 'curl http://1100.100.100.200/latest/ http://100.100.100.2001/latest/\n',
        'b/module.py': 'AWS = "http://169.254.169.254"\n',
        'b/node_modules/x/y.js': `fetch("${URL_ALIBABA}")\n`,
        'b/notes.txt': `curl ${URL_ALIBABA}\n`,
      }),
    ).toEqual([
      ['script', 'asks.sh', null, '/a/asks.sh', 'too_old'],
      ['script', 'aws.sh', null, '/a/aws.sh', 'too_old'],
      ['script', 'dated.sh', null, '/a/dated.sh', 'too_old'],
      ['script', 'huawei.sh', null, '/a/huawei.sh', 'too_old'],
      ['script', 'module.py', null, '/a/module.py', 'too_old'],
      ['script', 'program', null, '/a/program', 'too_old'],
      ['script', 'unit.service', null, '/a/unit.service', 'too_old'],
      ['script', 'variable.sh', null, '/a/variable.sh', 'unknown'],
      ['script', 'job', null, '/etc/cron.d/job', 'too_old'],
    ]);
  });

  it('are told the two requests to make, of the cloud that they ask', async () => {
    const { items } = await inventory({
      'a.sh': `curl ${URL_ALIBABA}\n`,
      'b.sh': 'curl http://169.254.169.254/openstack/latest/meta_data.json\n',
    });
    expect(items.map(({ provider, advice }) => [provider, advice])).toEqual([
      [
        'alibaba',
        "Ask for a token first: TOKEN=$(curl -sS -X PUT -H 'x-aliyun-ecs-metadata-token-ttl-seconds: 300' " +
          'http://100.100.100.200/latest/api/token), then each request with -H "x-aliyun-ecs-metadata-token: $TOKEN".',
      ],
      ['huawei', expect.stringContaining('http://169.254.169.254/meta-data/latest/api/token')],
    ]);
  });
});

describe('a hostile tree', () => {
  it('leads nowhere else, and what is no regular file is never opened', async () => {
    const outside = tree({ 'node_modules/aws-sdk/package.json': '{"name":"aws-sdk","version":"2.1.0"}' });
    const root = tree({
      'a/node_modules': { link: join(outside, 'node_modules') },
      'b/node_modules/aws-sdk/package.json': { link: join(outside, 'node_modules/aws-sdk/package.json') },
      'c/up': { link: '../..' },
      'c/loop': { link: 'loop' },
      'd/keep': '',
    });
    // Who opened one of them for reading would wait for a writer for ever.
    await runOk(['mkfifo', join(root, 'd/package.json'), join(root, 'd/x.jar'), join(root, 'd/METADATA')]);
    const { items, problems } = await takeInventory({ root });
    expect([items, problems]).toEqual([[], []]);
  });

  it('of names that are no text, and that would steer a terminal, is shown escaped', async () => {
    const root = tree({});
    const directory = Buffer.concat([Buffer.from(`${root}/`), Buffer.from([0x80, 0x1b]), Buffer.from('[31m\nx')]);
    mkdirSync(directory);
    await runOk([
      'sh',
      '-c',
      'cd "$0"/* && mkdir -p node_modules/aws-sdk && echo "{\\"version\\":\\"1\\\\u001b[0m\\"}" > node_modules/aws-sdk/package.json',
      root,
    ]);
    const { items } = await takeInventory({ root });
    expect(items.map(({ path, version }) => [path, version])).toEqual([
      ['/\\x80\x1b[31m\nx/node_modules/aws-sdk/package.json', '1\x1b[0m'],
    ]);
  });

  it('of damaged files costs nothing but those', async () => {
    const broken = 'x'.repeat(100);
    const { items, complete } = await inventory({
      'node_modules/aws-sdk/package.json': '{"name":"aws-sdk","version":',
      'a/vendor/composer/installed.json': '[null,1,{"name":5},{"name":"aws/aws-sdk-php","version":{}}]',
      'b/node_modules/.package-lock.json':
        '{"packages":{"node_modules/x":{"name":"aws-sdk"},"../../etc":{"name":"aws-sdk"}}}',
      'a.jar': broken,
      'usr/bin/x': { program: Buffer.concat([Buffer.from('\x7fELF\x02\x01', 'latin1'), Buffer.alloc(100, 0xff)]) },
      'x/site-packages/botocore-1.0.dist-info/METADATA': '\0\0\0',
      'z/node_modules/@aws-sdk/credential-provider-imds/package.json':
        '{"name":"@aws-sdk/credential-provider-imds","version":"3.0.0"}',
    });
    expect(complete).toBe(true);
    expect(rows(items)).toEqual([
      ['composer', 'aws/aws-sdk-php', null, '/a/vendor/composer/installed.json', 'unknown'],
      ['npm', 'aws-sdk', null, '/b/node_modules/x/package.json', 'unknown'],
      ['npm', 'aws-sdk', null, '/node_modules/aws-sdk/package.json', 'unknown'],
      ['pip', 'botocore', '1.0', '/x/site-packages/botocore-1.0.dist-info/METADATA', 'too_old'],
      [
        'npm',
        '@aws-sdk/credential-provider-imds',
        '3.0.0',
        '/z/node_modules/@aws-sdk/credential-provider-imds/package.json',
        'ok',
      ],
    ]);
  });

  it('that nests without end is left at a depth, and that is said', async () => {
    const root = tree({ 'a/keep': '' });
    // Deeper than a path may be long: made from where the program is.
    const make = 'import os,sys\nos.chdir(sys.argv[1])\nfor i in range(210): os.mkdir("d"*30); os.chdir("d"*30)';
    await runOk(['python3', '-c', make, root]);
    const { problems, scanned } = await takeInventory({ root });
    expect(problems).toEqual([{ reason: 'too_deep', count: 1, example: expect.stringContaining(root) }]);
    expect(scanned.directories).toBeGreaterThan(100);
  });

  it('of directories that may not be read is not complete', async ({ skip }) => {
    if (process.getuid!() !== 0) skip('needs root, to become nobody');
    const root = tree({ 'open/x': '', 'closed/node_modules/aws-sdk/package.json': '{}' });
    await runOk(['chmod', '700', join(root, 'closed')]);
    await runOk(['chmod', '755', root]);
    const script = `import('${join(packageRoot(), 'build/js/inventory/take.js')}').then(async ({ takeInventory }) =>
      console.log(JSON.stringify((await takeInventory({ root: '${root}' })).problems)))`;
    const reader = await run([
      'setpriv',
      '--reuid',
      '65534',
      '--regid',
      '65534',
      '--clear-groups',
      process.execPath,
      '-e',
      script,
    ]);
    if (reader.stdout === '') skip(`nobody may not read this checkout: ${reader.stderr.slice(0, 200)}`);
    expect(JSON.parse(reader.stdout)).toEqual([{ reason: 'not_permitted', count: 1, example: `${root}/closed` }]);
  });
});

describe('limits', () => {
  let many: string;
  beforeAll(() => {
    const manifest = '{"name":"aws-sdk","version":"2.0.0"}';
    const packages = Array.from({ length: 60 }, (_, i): [string, string] => [
      `d${i}/node_modules/aws-sdk/package.json`,
      manifest,
    ]);
    many = makeTree({ ...Object.fromEntries(packages), 'a.sh': 'curl http://100.100.100.200/latest/\n' });
  });
  afterAll(() => removeTree(many));

  it('end it with what was found until then', async () => {
    for (const limits of [{ entries: 20 }, { bytes: 1000 }, { items: 5 }, { time: 0 }]) {
      const { items, complete, problems } = await takeInventory({ root: many, limits });
      expect([Object.keys(limits), complete, problems.map(({ reason, count }) => [reason, count])]).toEqual([
        Object.keys(limits),
        false,
        [['limit_reached', 1]],
      ]);
      expect(items.length).toBeLessThan(60);
    }
  });

  it('are those of who asks for the end, too', async () => {
    const abort = new AbortController();
    abort.abort();
    const { complete, problems } = await takeInventory({ root: many, signal: abort.signal });
    expect([complete, problems[0]?.reason]).toEqual([false, 'stopped']);
  });

  it('of providers leave the others out', async () => {
    const { items } = await takeInventory({ root: many, providers: ['alibaba'] });
    expect(rows(items)).toEqual([['script', 'a.sh', null, '/a.sh', 'too_old']]);
  });
});

it('refuses a root that is none', async () => {
  const root = tree({ file: '' });
  for (const wrong of [join(root, 'nothing'), join(root, 'file')]) {
    await expect(takeInventory({ root: wrong })).rejects.toThrow(TracerError);
  }
  add(root, 'image/keep', '');
  add(root, 'link', { link: 'image' });
  // Its own name may lead through links.
  expect((await takeInventory({ root: join(root, 'link') })).scanned.directories).toBe(1);
});
