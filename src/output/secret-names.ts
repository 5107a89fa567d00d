/**
 * How far the value of a secret name reaches where nothing quotes it:
 * `header`: a word, in many notations (`Name: v`, `'Name': 'v'`, `("Name", "v")`, `Name v`);
 * `line`: a header whose value may hold spaces (`Authorization: Basic v`), so to the end of the line;
 * `field`: a word after `=` or `:` (`NAME=v`, `--name=v`, `?name=v`, `"name": "v"`).
 */
export type SecretKind = 'header' | 'line' | 'field';

/**
 * By the end of the name, in lower case and without `-`, `_` and `.`; the first that fits counts. By the end, because
 * names come with prefixes (X-aws-ec2-metadata-token, ALIBABA_CLOUD_ACCESS_KEY_SECRET, spring.datasource.password);
 * what a name begins with says nothing: the TTL headers begin with the token headers' names.
 */
const NAME_ENDINGS: readonly { ending: string; whole?: true; kind: SecretKind }[] = [
  // X-aliyun-ecs-, X-aws-ec2-, X-NCP-, X-, X-volc-ecs- and Linode's plain Metadata-Token.
  { ending: 'metadatatoken', kind: 'header' },
  { ending: 'authtoken', kind: 'header' },
  { ending: 'securitytoken', kind: 'header' },
  { ending: 'authorization', kind: 'line' },
  { ending: 'cookie', whole: true, kind: 'line' },
  { ending: 'setcookie', whole: true, kind: 'line' },
  { ending: 'token', kind: 'field' },
  // AccessKeySecret, ACCESS_KEY_SECRET, client_secret
  { ending: 'secret', kind: 'field' },
  { ending: 'secretkey', kind: 'field' },
  { ending: 'secretaccesskey', kind: 'field' },
  { ending: 'sdksk', kind: 'field' },
  { ending: 'apikey', kind: 'field' },
  { ending: 'accountkey', kind: 'field' },
  { ending: 'signature', kind: 'field' },
  { ending: 'password', kind: 'field' },
  { ending: 'passwd', kind: 'field' },
  { ending: 'passphrase', kind: 'field' },
];

/** A text that this does not match holds neither a secret name, nor a Bearer word, nor user-info of a URL. */
export const MAY_HOLD_SECRET = /token|secret|key|passw|passphrase|signature|authorization|cookie|bearer|sdk_sk|@/i;

/** Ends of names; what they are the end of is for `secretKind`. */
export const NAME_END =
  /(?:token|secret|key|password|passwd|passphrase|signature|authorization|cookie|sdk_sk)(?![A-Za-z0-9_-])/gi;

/** Of a name as written, what follows the letters of a clustered option: `-HCookie`, `-sHCookie`. */
const GLUED_OPTION = /^-[A-Za-z]{0,8}H(?=[A-Za-z])/;

/** What kind of secret a name's value is; undefined for any other name. */
export function secretKind(name: string): SecretKind | undefined {
  const plain = name.replace(GLUED_OPTION, '').replace(/[-_.]/g, '').toLowerCase();
  for (const { ending, whole, kind } of NAME_ENDINGS) {
    if (whole ? plain === ending : plain.endsWith(ending)) return kind;
  }
  return undefined;
}
