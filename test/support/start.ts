// `npm start`: the whole provider on this machine, for somebody who has never seen it. Starts an OpenBao (the embedded one, or
// a real one with --real), sets it up as an administrator would, starts the real `serve`, acts as the API server would, and
// serves until Ctrl-C. Leaves nothing behind but installed packages and the build.

import { randomBytes } from 'node:crypto';
import { createJwtIssuer, issuerDefaults } from './jwt-issuer.ts';
import { refusalOf } from './kms-client.ts';
import { type OpenBaoProcess, startOpenBao } from './openbao/process.ts';
import { createAdmin, defaultInstallation, provision } from './openbao/provision.ts';
import { type Provider, startProvider, untilHealthy } from './provider.ts';
import { createWorkplace, type Workplace } from './workplace.ts';

const isOnce = process.argv.includes('--once');
const isReal = process.argv.includes('--real');
const startedAtMs = performance.now();

function say(text: string): void {
  const seconds = ((performance.now() - startedAtMs) / 1000).toFixed(2).padStart(6);
  process.stdout.write(`${seconds}s  ${text}\n`);
}

async function timed<T>(name: string, run: () => Promise<T>, tell: (value: T) => string): Promise<T> {
  const beganAtMs = performance.now();
  const value = await run();
  const ms = (performance.now() - beganAtMs).toFixed(1);
  say(`${name.padEnd(8)} ${`${ms} ms`.padStart(9)}  ${tell(value)}`);
  return value;
}

const cleanups: (() => Promise<unknown> | unknown)[] = [];
async function cleanUp(): Promise<void> {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
}

let hasStopped = false;
let cleaned: Promise<void> | undefined;
/** Whoever comes second waits for the first: the end of the provider is seen while the rest is still being cleaned up. */
async function stop(exitCode: number): Promise<never> {
  hasStopped = true;
  cleaned ??= cleanUp();
  await cleaned;
  process.exit(exitCode);
}
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.on(signal, () => {
    say('stopping');
    void stop(0);
  });
}

async function main(): Promise<void> {
  const bao = await startOpenBao(isReal);
  cleanups.push(bao.stop);
  say(`OpenBao ${bao.version} at ${bao.address}${isReal ? '' : ' (the embedded development server: no real OpenBao)'}`);
  const issuer = createJwtIssuer(12 * 3600);
  const admin = createAdmin({ address: bao.address, token: bao.rootToken, ca: bao.ca });
  await provision(admin, defaultInstallation, { publicKeyPem: issuer.publicKeyPem, ...issuerDefaults });
  await admin.close();
  say('set up: Transit mount with upsert off, key aes256-gcm96, policy of six paths, JWT role');
  const workplace = createWorkplace({ address: bao.address, ca: bao.ca, jwt: issuer.issue() });
  cleanups.push(workplace.remove);
  workplace.writeConfig((config) => {
    config['logging'] = { format: 'text' };
  });
  say(`configuration, CA, JWT and state in ${workplace.directory}`);
  const provider = startProvider(workplace);
  cleanups.push(provider.stop);
  await untilHealthyText(provider);
  say(`serve is up: socket ${workplace.socketPath}, plugin process ${pluginOf(provider)}`);
  await actAsApiServer(provider);
  if (isOnce) return stop(0);
  tellWhereToLook(provider, workplace, bao);
  await provider.exited;
  await stop(hasStopped ? 0 : 1);
}

async function untilHealthyText(provider: Provider): Promise<void> {
  const ended = provider.exited.then((code) => {
    throw new Error(`the provider ended with exit code ${code}:\n${provider.text()}`);
  });
  if (!hasStopped) await Promise.race([untilHealthy(provider), ended]);
  ended.catch(() => undefined);
}

function pluginOf(provider: Provider): string {
  return /plugin\.started.* pid=(\d+)/u.exec(provider.text())?.[1] ?? '?';
}

async function actAsApiServer({ client }: Provider): Promise<void> {
  say('as the API server would, over the socket:');
  const seed = randomBytes(32);
  const status = await timed(
    'Status',
    () => client.status(),
    ({ version, healthz, keyId }) => `${version} ${healthz}, key_id ${keyId}`,
  );
  const tell = ({ ciphertext, annotations }: { ciphertext: Buffer; annotations: Map<string, Buffer> }) =>
    `${ciphertext.length} bytes ${ciphertext.toString('latin1').slice(0, 12)}…, ${annotations.size} annotations`;
  const encrypted = await timed('Encrypt', () => client.encrypt(seed), tell);
  if (encrypted.keyId !== status.keyId) throw new Error('Encrypt and Status name different keys');
  const decrypted = await timed(
    'Decrypt',
    () => client.decrypt(encrypted),
    ({ plaintext }) => (plaintext.equals(seed) ? 'the same 32 bytes' : 'OTHER BYTES'),
  );
  if (!decrypted.plaintext.equals(seed)) throw new Error('Decrypt answered other bytes');
  const tampered = Buffer.from(encrypted.ciphertext);
  const last = tampered.length - 5;
  tampered[last] = tampered[last] === 65 ? 66 : 65;
  await timed(
    'Decrypt',
    () => refusalOf(client.decrypt({ ...encrypted, ciphertext: tampered })),
    ({ code, message }) => `tampered: refused with gRPC code ${code}, "${message}"`,
  );
}

function tellWhereToLook(provider: Provider, workplace: Workplace, bao: OpenBaoProcess): void {
  const [, health = ''] = /health_address=(\S+)/u.exec(provider.text()) ?? [];
  const [, metrics = ''] = /metrics_address=(\S+)/u.exec(provider.text()) ?? [];
  const plan = workplace.command('rotation-plan', '--config', workplace.configPath, '--development');
  const keyUrl = `${bao.address}/v1/${defaultInstallation.mountPath}/keys/${defaultInstallation.keyName}`;
  say('serving until Ctrl-C. Where to look next:');
  for (const line of [
    `curl http://${health}/ready`,
    `curl http://${metrics}/metrics`,
    `cat ${workplace.configPath} ${workplace.statePath}`,
    `kill -9 ${pluginOf(provider)}        (the socket survives, a new plugin serves)`,
    `cd ${workplace.directory} && ${plan.join(' ')}`,
    `curl --cacert ${workplace.caPath} -H 'X-Vault-Token: ${bao.rootToken}' -X POST ${keyUrl}/rotate`,
    '        (the key rotates; the new version is active after 3 to 4 minutes, see docs/rotation.md)',
  ]) {
    process.stdout.write(`         ${line}\n`);
  }
  process.stdout.write(`\nlog of the provider:\n${provider.text()}`);
  provider.child.stderr?.on('data', (chunk: Buffer) => process.stdout.write(chunk));
}

try {
  await main();
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  await stop(1);
}
