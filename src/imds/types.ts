export type Verdict =
  | 'normal_mode'
  | 'hardened'
  | 'token_issue'
  | 'token_refused'
  | 'token_invalid'
  | 'foreign_probe'
  | 'unparsed';

export type Level = 'INFO' | 'NOTICE' | 'WARNING' | 'ERROR';

export type Severity = 'critical' | 'high' | 'medium' | 'low';

/** The providers that have a session token and so a normal mode. */
export type ProviderName = 'alibaba' | 'aws' | 'naver' | 'huawei' | 'volcengine';

/** An address that is traced, with the providers that judge what is sent there, the first as default. */
export interface Endpoint {
  address: string;
  port: number;
  providers: readonly ProviderName[];
}

/** What the judgement of one request says. Holds no header value but those that may be shown. */
export interface Judgement {
  provider: ProviderName;
  verdict: Verdict;
  level: Level;
  severity: Severity;
  /** Sorted, without repeats. */
  reasons: readonly string[];
  tokenPresent: boolean;
  /** TTL of a token request in seconds, where it was a decimal number. */
  ttlSeconds?: number;
}
