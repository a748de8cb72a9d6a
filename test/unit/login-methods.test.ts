// A login method is one row in each of the two tables and one file: in a copy of the sources a second one is added in this way, of two
// credentials. The compiler refuses it while something is missing; then everything that is derived knows it.

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { minimalDocument } from '../support/config-document.ts';
import { copySources } from '../support/source-copy.ts';

const copy = copySources();
const { compile, replaceIn, write } = copy;

const login = `    login: (http, { pin }, sent) =>
      requestLogin(
        http,
        options,
        {
          operation: loginOperations.card,
          path: 'auth/card/login',
          body: { pin: pin.toString() },
          explain: async () => undefined,
        },
        sent,
      ),
`;
const method = `// A login method of two credentials.
import { loginCredentials } from '../../../shared/config/login-methods.ts';
import { ProviderError } from '../../../shared/errors/error.ts';
import { loginOperations } from '../../openbao/operations.ts';
import { requestLogin } from '../login.ts';
import type { LoginMethod, LoginMethodDeps } from './method.ts';

export function createCardLogin({ options, wallMs }: LoginMethodDeps): LoginMethod<'card'> {
  return {
    name: 'card',
    credentials: loginCredentials.card,
    refreshWindowMs: 0,
    refusals: [],
    offer: ({ client_chain }) => {
      const untilUnixMs = Number(client_chain.toString());
      return { fromUnixMs: 0, untilUnixMs, early: 'auth_rejected', over: 'auth_rejected' };
    },
    whyUnusable: () => new ProviderError('auth_rejected', 'no card'),
${login}    facts: (inUse) => ({
      method: 'card',
      jwtTtlMs: 0,
      certificateTtlMs: inUse === undefined ? 0 : inUse.untilUnixMs - wallMs(),
    }),
  };
}
`;

/** Run in the copy: what is derived from the tables, and a session that logs in with the method. */
const probe = `// Tells what the copy knows of its second method.
import { createLoginMethod, loginMethods } from './plugin/auth/methods/table.ts';
import type { Http } from './plugin/openbao/client.ts';
import { loginOperations } from './plugin/openbao/operations.ts';
import { Session } from './plugin/session/session.ts';
import type { CredentialName } from './shared/channel/messages.ts';
import { readConfig, requireConfig } from './shared/config/config.ts';
import { credentialFiles } from './supervisor/custody/credentials.ts';

const { document } = JSON.parse(process.argv[2] ?? '') as { document: { auth: object } };
const config = requireConfig(document);
const wrong = readConfig({ ...document, auth: { ...document.auth, method: 'none' } });
const clock = { nowMs: () => 1_000, wallMs: () => 1_000, after: () => () => {} };
const options = { loginBeforeTokenExpiryMs: 0, tokenRenewalIncrementMs: 1_000, encryptPath: '' };
const method = createLoginMethod({ auth: config.auth, options, wallMs: clock.wallMs });
const auth = { client_token: 's.t', lease_duration: 60, renewable: true, policies: ['kms'] };
const body = Buffer.from(JSON.stringify({ auth }));
const sent: unknown[] = [];
const http: Http = {
  send: async (call) => {
    sent.push(call.body);
    return { status: 200, contentType: 'application/json', retryAfter: '', date: '', body };
  },
  handshake: async () => {},
  close: async () => {},
};
const told: string[] = [];
const session: Session = new Session({
  clock,
  random: () => 0,
  method,
  openPools: () => ({ login: http, transit: http, trustEndsAtUnixMs: 0 }),
  loginNow: async () => void (await session.login(new AbortController().signal, true)),
  hasToken: () => false,
  timeoutMs: 1_000,
  send: (message) =>
    void (message.kind === 'credential_result' && told.push(message.name + ' ' + message.generation + ' ' + message.result)),
  stopped: new AbortController().signal,
});
const offer = (name: CredentialName, generation: number, text: string) =>
  session.offer({ kind: 'credential', name, generation, modifiedAtUnixMs: 0, bytes: Buffer.from(text).toString('base64') });
offer('openbao_ca', 1, 'ca');
offer('client_chain', 1, '61000');
const isHalfTried = sent.length > 0;
offer('pin', 1, '1234');
await new Promise((resolve) => setTimeout(resolve, 50));
// Another chain, which has ended; the pin stays.
offer('client_chain', 2, '500');
const warnings = session.warnings().map(({ name, state }) => name + ' ' + state);
const derived = {
  methods: Object.keys(loginMethods),
  message: wrong.problems.map(({ message }) => message).filter((text) => text.startsWith('must be one of')),
  files: credentialFiles(config).map(({ name }) => name),
  operation: loginOperations.card.label,
  isHalfTried,
  sent,
  told,
  warnings,
  generations: session.generations(),
  facts: session.facts(),
};
process.stdout.write(JSON.stringify(derived));
`;

const document = {
  ...minimalDocument(),
  auth: { method: 'card', cert: { pkcs11: { certificateFile: '/chain', pinFile: '/pin' } } },
};

const file = 'plugin/auth/methods/card.ts';
const table = 'plugin/auth/methods/table.ts';

test('a method that only the supervisor knows does not compile', () => {
  const row = "  jwt: ['jwt'],\n";
  replaceIn('shared/config/login-methods.ts', row, `${row}  card: ['client_chain', 'pin'],\n`);
  const { files, output } = compile();

  assert.equal(files, [table], output);
  assert.match(output, /'card' is missing/u);
});

test('a row whose method lacks a part of the port, or wants a credential that it did not name, does not compile', () => {
  replaceIn(table, '  jwt: createJwtLogin,\n', '  jwt: createJwtLogin,\n  card: createCardLogin,\n');
  replaceIn(
    table,
    'import type { LoginMethod,',
    "import { createCardLogin } from './card.ts';\nimport type { LoginMethod,",
  );
  write(file, method.replace(login, '').replace('{ client_chain }', '{ client_chain, jwt }'));
  const { files, output } = compile();

  assert.equal(files, [file], output);
  assert.match(output, /'login' is missing/u);
  assert.match(output, /'jwt' does not exist/u);
});

test('two rows and a file are a login method: custody, configuration, session and metrics know it', () => {
  write(file, method);
  write('probe.ts', probe);
  const { output } = compile();
  assert.is(output, '');

  // Anything beside the answer, also on standard error, is no JSON.
  assert.equal(JSON.parse(copy.run('probe.ts', JSON.stringify({ document }))), {
    methods: ['jwt', 'card'],
    message: ['must be one of jwt or card or cert'],
    files: ['client_chain', 'pin', 'openbao_ca'],
    operation: 'card_login',
    isHalfTried: false,
    sent: [{ pin: '1234' }],
    told: ['openbao_ca 1 in_use', 'client_chain 1 in_use', 'pin 1 in_use', 'client_chain 2 refused'],
    warnings: ['client_chain refused'],
    generations: { openbao_ca: 1, client_chain: 1, pin: 1 },
    facts: { method: 'card', jwtTtlMs: 0, certificateTtlMs: 60_000 },
  });
});

test.after(copy.remove);
test.run();
