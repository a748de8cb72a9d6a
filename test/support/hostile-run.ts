// One run of the real provider through everything that can go well or wrong, with recognisable values in every place where
// something could leak from. T18 looks at its logs, T19 at its metrics.

import { randomBytes } from 'node:crypto';
import { install } from './installation.ts';
import { refuse } from './openbao/answer.ts';
import { untilHealthy } from './provider.ts';

export type HostileRun = {
  readonly log: string;
  readonly metrics: string;
  readonly canaries: Readonly<Record<string, string | Buffer>>;
};

const foreignText = 'canary-foreign-text-of-a-server';

export async function runHostile(format: 'json' | 'text', level: string): Promise<HostileRun> {
  const installed = await install({
    claims: { secretclaim: 'canary-claim-value' },
    change: (config) => {
      config['logging'] = { format, level };
    },
  });
  try {
    const { bao, start, workplace, issuer, engine } = installed;
    const provider = start();
    const keyId = await untilHealthy(provider);
    const seed = Buffer.from('canary-plaintext-seed-0123456789');
    const encrypted = await provider.client.encrypt(seed, 'canary-request-uid');
    await provider.client.decrypt(encrypted, 'canary-request-uid');
    const ignore = (promise: Promise<unknown>) =>
      promise.then(
        () => undefined,
        () => undefined,
      );
    await ignore(provider.client.decrypt({ ...encrypted, keyId: 'canary-key-id' }));
    await ignore(
      provider.client.decrypt({
        ...encrypted,
        annotations: new Map([['canary.annotation.org', Buffer.from('canary-annotation')]]),
      }),
    );
    await ignore(provider.client.decrypt({ ...encrypted, ciphertext: Buffer.from('vault:v1:canaryciphertext') }));
    await ignore(provider.client.encrypt(Buffer.alloc(0)));
    await ignore(provider.client.encrypt(randomBytes(800)));
    await ignore(provider.client.raw('Encrypt', Buffer.from('canary-garbage')));
    for (const fault of [
      refuse(500, foreignText),
      refuse(403, foreignText),
      refuse(400, foreignText),
      refuse(404, foreignText),
    ]) {
      bao.fault = () => fault;
      await ignore(provider.client.decrypt(encrypted));
      await ignore(provider.client.encrypt(seed));
    }
    bao.fault = () => ({ raw: true, status: 200, headers: { 'content-type': 'text/html' }, text: foreignText });
    await ignore(provider.client.decrypt(encrypted));
    bao.fault = () => 'close';
    await ignore(provider.client.decrypt(encrypted));
    bao.fault = undefined;
    const metricsBefore = await metricsOf(provider.text());
    const refusedJwt = issuer.issue({ iss: 'https://canary-issuer.example' });
    workplace.replaceFile(workplace.jwtPath, refusedJwt);
    const pid = pluginPid(provider.text());
    if (pid > 0) process.kill(pid, 'SIGKILL');
    await ignore(provider.client.status(5_000));
    await new Promise((resolve) => setTimeout(resolve, 1_500));
    const metrics = `${metricsBefore}${await metricsOf(provider.text())}`;
    const tokens = [...bao.access.tokens.values()].map(({ id }) => id);
    const key = [...engine.keys.values()][0];
    await provider.stop();
    const canaries: Record<string, string | Buffer> = {
      seed,
      ciphertext: encrypted.ciphertext.toString(),
      keyId,
      'key name': 'k8s-demo-etcd',
      'request uid': 'canary-request-uid',
      'foreign text': foreignText,
      'a claim': 'canary-claim-value',
      'another issuer': 'canary-issuer',
      'a key id from outside': 'canary-key-id',
      'an annotation': 'canary-annotation',
      'a ciphertext from outside': 'canaryciphertext',
      garbage: 'canary-garbage',
      'the refused JWT': refusedJwt,
      'the JWT file': workplace.jwtPath,
      'key material': key?.versions.get(1)?.material ?? Buffer.alloc(32),
      'a path of the API': 'transit/encrypt',
    };
    for (const [index, token] of tokens.entries()) canaries[`token ${index}`] = token;
    return { log: provider.text(), metrics, canaries };
  } finally {
    await installed.close();
  }
}

function pluginPid(log: string): number {
  return Number(/plugin\.started.*?pid=(\d+)/u.exec(log)?.[1] ?? /"pid":(\d+)/u.exec(log)?.[1]);
}

async function metricsOf(log: string): Promise<string> {
  const address = /"metrics_address":"([^"]+)"/u.exec(log)?.[1] ?? /metrics_address=(\S+)/u.exec(log)?.[1];
  if (address === undefined) return '';
  return (await fetch(`http://${address}/metrics`)).text();
}
