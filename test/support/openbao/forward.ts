// A front before another OpenBao: what no fault takes is passed on, and status, body and the headers that matter come back.

import { Agent, request } from 'undici';
import type { Answer } from './answer.ts';
import { type Call, Front, type FrontOptions } from './front.ts';

export type Behind = { readonly address: string; readonly ca: string };

/** What the provider may act on; the rest is the front's own. */
const passedOn = ['retry-after', 'date'];

class Forward extends Front {
  readonly #behind: Behind;
  readonly #dispatcher: Agent;

  constructor(behind: Behind) {
    super();
    this.#behind = behind;
    this.#dispatcher = new Agent({ connect: { ca: behind.ca, servername: 'localhost' }, allowH2: false });
  }

  protected async answer({ method, path, query, token, namespace, body }: Call): Promise<Answer> {
    const reply = await request(`${this.#behind.address}/v1/${path}${query === '' ? '' : `?${query}`}`, {
      method: method as 'GET',
      dispatcher: this.#dispatcher,
      headers: {
        ...(token === undefined ? {} : { 'x-vault-token': token }),
        ...(namespace === '' ? {} : { 'x-vault-namespace': namespace }),
      },
      body: method === 'POST' ? JSON.stringify(body) : null,
    });
    const text = await reply.body.text();
    const told = Object.entries(reply.headers).filter(
      (entry): entry is [string, string] => passedOn.includes(entry[0]) && typeof entry[1] === 'string',
    );
    const headers = Object.fromEntries(told);
    return { status: reply.statusCode, body: text === '' ? undefined : JSON.parse(text), headers };
  }

  override async close(): Promise<void> {
    await super.close();
    await this.#dispatcher.destroy();
  }
}

export async function startForward(behind: Behind, options: FrontOptions): Promise<Front> {
  const front = new Forward(behind);
  await front.listen(options);
  return front;
}
