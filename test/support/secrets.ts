// Secrets as a client of an API server has them, and where they lie in etcd.

import type { ApiServer } from './kubernetes.ts';
import { limitOf } from './patience.ts';

export const secretsPath = '/api/v1/namespaces/default/secrets';

const initializingMs = 30_000;

/** A client of Secrets in one namespace; as good clients do it comes again while it is told that the storage is initializing. */
export const secretsOf = ({ call }: ApiServer) => {
  const good = async (...[method, path, body]: Parameters<ApiServer['call']>) => {
    const deadline = Date.now() + limitOf(initializingMs);
    let reply = await call(method, path, body);
    while (reply.status === 429 && Date.now() < deadline) {
      await new Promise((resolve) => setTimeout(resolve, 250));
      reply = await call(method, path, body);
    }
    if (reply.status < 300) return reply.body;
    throw new Error(`${reply.status} ${String(reply.body['message'] ?? reply.body['text'])}`);
  };
  const object = (name: string, value: string) => ({
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: { name },
    data: { value: Buffer.from(value).toString('base64') },
  });
  const valueIn = (body: Record<string, unknown>) =>
    Buffer.from((body['data'] as { value: string }).value, 'base64').toString();
  const items = async () => (await good('GET', secretsPath))['items'] as Record<string, unknown>[];
  return {
    create: (name: string, value: string) => good('POST', secretsPath, object(name, value)),
    read: async (name: string) => valueIn(await good('GET', `${secretsPath}/${name}`)),
    /** Writes it again as it is. */
    rewrite: async (name: string) => good('PUT', `${secretsPath}/${name}`, await good('GET', `${secretsPath}/${name}`)),
    list: async () => (await items()).map(valueIn),
    names: async () => (await items()).map(({ metadata }) => (metadata as { name: string }).name),
  };
};

export const etcdKey = (name: string) => `/registry/secrets/default/${name}`;

/** What a client is told when it is refused; `served` when it is not. */
export const messageOf = (call: Promise<unknown>): Promise<string> =>
  call.then(
    () => 'served',
    (error: Error) => error.message,
  );
