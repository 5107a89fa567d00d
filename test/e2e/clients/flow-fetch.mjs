// flow-fetch.mjs ORIGIN: asks for a token, uses it, then goes without, with fetch.
const origin = process.argv[2];

const ask = async (path, headers = {}, method = 'GET') =>
  (await fetch(origin + path, { method, headers, signal: AbortSignal.timeout(10_000) })).text();

const token = await ask('/latest/api/token', { 'X-aliyun-ecs-metadata-token-ttl-seconds': '60' }, 'PUT');
await ask('/latest/meta-data/instance-id', { 'X-aliyun-ecs-metadata-token': token });
await ask('/latest/meta-data/hostname');
