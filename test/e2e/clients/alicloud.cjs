// alicloud.cjs PACKAGE: the role's credentials with a version of @alicloud/credentials, as its documentation shows it.
const { default: Credential, Config } = require(process.argv[2]);

async function main() {
  const credential = new Credential(new Config({ type: 'ecs_ram_role' }));
  // 2.4 gives all of it in one call, 2.3 only piece by piece.
  const id = credential.getCredential
    ? (await credential.getCredential()).accessKeyId
    : await credential.getAccessKeyId();
  if (id !== 'STS.LabExample0000000000') throw new Error(`not the lab's credentials: ${id}`);
}

main().then(
  () => process.exit(0),
  (error) => {
    console.error(error);
    process.exit(1);
  },
);
