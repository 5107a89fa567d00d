import { type ClientKind, knownClient } from '../advice/clients.js';
import { atLeast } from '../inventory/versions.js';
import type { SdkFinding } from './types.js';

/** What a User-Agent says of who sends it; the first group is the version. The first row that fits. */
const USER_AGENTS: readonly { pattern: RegExp; kind: ClientKind | null; name: string }[] = [
  // Alibaba Cloud's SDKs: `AlibabaCloud (linux; amd64) Golang/1.21.0 Credentials/1.3.10 TeaDSL/1`.
  agent(/\bPython\/.*\bCredentials\/VERSION/, 'pip', 'alibabacloud-credentials'),
  agent(/\bJava\/.*\bCredentials\/VERSION/, 'jar', 'com.aliyun:credentials-java'),
  agent(/\bGolang\/.*\bCredentials\/VERSION/, 'go', 'github.com/aliyun/credentials-go'),
  agent(/\bPHP\/.*\bCredentials\/VERSION/, 'composer', 'alibabacloud/credentials'),
  agent(/^AlibabaCloud .*\bNode\.js\/\S+ Core\/VERSION/, 'npm', '@alicloud/credentials'),
  agent(/^Cloud-Init\/VERSION/, 'package', 'cloud-init'),
  agent(/\bBotocore[/#]VERSION/i, 'pip', 'botocore'),
  agent(/^aws-sdk-go-v2\/VERSION/, 'go', 'github.com/aws/aws-sdk-go-v2'),
  agent(/^aws-sdk-go\/VERSION/, 'go', 'github.com/aws/aws-sdk-go'),
  agent(/^aws-sdk-java\/(2\.[\w.-]{1,38})/, 'jar', 'software.amazon.awssdk:auth'),
  agent(/^aws-sdk-java\/VERSION/, 'jar', 'com.amazonaws:aws-java-sdk-core'),
  agent(/^aws-sdk-nodejs\/VERSION/, 'npm', 'aws-sdk'),
  agent(/^aws-sdk-php\/VERSION/, 'composer', 'aws/aws-sdk-php'),
  agent(/^aws-sdk-ruby3?\/VERSION/, 'gem', 'aws-sdk-core'),
  agent(/^aws-cli\/VERSION/, 'program', 'aws-cli'),
  // No SDKs of a cloud: what was written with them asks by itself.
  agent(/^curl\/VERSION/, null, 'curl'),
  agent(/^Wget\/VERSION/, null, 'wget'),
  agent(/^python-requests\/VERSION/, null, 'Python requests'),
  agent(/^Python-urllib\/VERSION/, null, 'Python urllib'),
  agent(/^Go-http-client\/()/, null, 'Go net/http'),
  agent(/^okhttp\/VERSION/, null, 'OkHttp'),
  agent(/^Apache-HttpClient\/VERSION/, null, 'Apache HttpClient'),
  agent(/^Java\/VERSION/, null, 'Java HttpURLConnection'),
  agent(/^Java-http-client\/VERSION/, null, 'Java HttpClient'),
  agent(/^axios\/VERSION/, null, 'axios'),
  agent(/^(?:undici|node)$()/, null, 'Node fetch'),
];

function agent(pattern: RegExp, kind: ClientKind | null, name: string) {
  return { pattern: new RegExp(pattern.source.replace('VERSION', '(\\d[\\w.+~-]{0,39})'), pattern.flags), kind, name };
}

/** Longest User-Agent that is looked at; patterns are linear or quadratic in it. */
const MAX_AGENT = 256;

export function sdkOfUserAgent(userAgent: string): SdkFinding | undefined {
  const text = userAgent.slice(0, MAX_AGENT);
  for (const { pattern, kind, name } of USER_AGENTS) {
    const match = pattern.exec(text);
    if (match !== null) return sdkFinding({ kind, name, version: match[1] || null, how: 'user_agent' });
  }
  return undefined;
}

/** A finding held against the table of known clients. */
export function sdkFinding(found: Pick<SdkFinding, 'kind' | 'name' | 'version' | 'how' | 'path'>): SdkFinding {
  const { kind, name, version } = found;
  const known = kind === null ? undefined : knownClient(kind, name);
  if (known === undefined || known.minimum === null) return { ...found, status: 'unknown' };
  const enough = version === null ? undefined : atLeast(known.kind, version, known.minimum);
  const status = enough === undefined ? 'unknown' : enough ? 'ok' : known.below;
  return { ...found, status, minimum: known.minimum };
}
