// flow-http.mjs ORIGIN: asks for a token, uses it, then goes without, with node:http on a kept connection.
import { Agent, request } from 'node:http';

const origin = process.argv[2];
const agent = new Agent({ keepAlive: true, maxSockets: 1 });

function ask(path, headers = {}, method = 'GET') {
  return new Promise((resolve, reject) => {
    request(origin + path, { agent, method, headers }, async (answer) => {
      let text = '';
      for await (const chunk of answer.setEncoding('utf8')) text += chunk;
      resolve(text);
    })
      .on('error', reject)
      .end();
  });
}

const token = await ask('/latest/api/token', { 'X-aliyun-ecs-metadata-token-ttl-seconds': '60' }, 'PUT');
await ask('/latest/meta-data/instance-id', { 'X-aliyun-ecs-metadata-token': token });
await ask('/latest/meta-data/hostname');
agent.destroy();
