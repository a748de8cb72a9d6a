// `openbao.pathPrefix`: a proxy that serves OpenBao below a path, a real one where it is found. Every request goes below it.

import { randomBytes } from 'node:crypto';
import { createServer, request as httpsRequest } from 'node:https';
import type { AddressInfo } from 'node:net';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { quickly } from '../support/installation.ts';
import { createJwtIssuer, issuerDefaults } from '../support/jwt-issuer.ts';
import { findBao, type OpenBaoProcess, startOpenBao } from '../support/openbao/process.ts';
import { createAdmin, defaultInstallation, provision } from '../support/openbao/provision.ts';
import { createAuthority, createLeaf } from '../support/pki.ts';
import { startProvider, untilHealthy } from '../support/provider.ts';
import { skipWithout } from '../support/skip.ts';
import { createWorkplace } from '../support/workplace.ts';

/** Passes on what is below the prefix, and answers 404 to everything else, as a proxy for many services does. */
async function startProxy(behind: OpenBaoProcess, prefix: string) {
  const authority = await createAuthority('proxy CA');
  const { certificate, key } = await createLeaf(authority);
  const seen: string[] = [];
  const server = createServer({ cert: certificate, key }, (incoming, outgoing) => {
    const url = incoming.url ?? '';
    seen.push(url);
    if (!url.startsWith(`${prefix}/`)) {
      outgoing.writeHead(404).end();
      return;
    }
    const { method, headers } = incoming;
    const target = new URL(`${behind.address}${url.slice(prefix.length)}`);
    const onward = httpsRequest(
      target,
      { method, headers: { ...headers, host: target.host }, ca: behind.ca, servername: 'localhost' },
      (reply) => {
        outgoing.writeHead(reply.statusCode ?? 502, reply.headers);
        reply.pipe(outgoing);
      },
    );
    onward.on('error', () => outgoing.destroy());
    incoming.pipe(onward);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const close = () => {
    server.closeAllConnections();
    server.close();
  };
  return { address: `https://127.0.0.1:${port}`, ca: authority.pem, seen, close };
}

for (const isReal of [false, true]) {
  const title = `below a path of a proxy, on ${isReal ? 'a real OpenBao' : 'the development server'}`;
  test(`${title}: login, probes and calls all go below it, with times in fractions in the JWT`, async () => {
    if (isReal && skipWithout(findBao() !== undefined, title, 'BAO_BIN, or bao on the path')) return;
    const bao = await startOpenBao(isReal);
    const proxy = await startProxy(bao, '/secrets/openbao');
    const issuer = createJwtIssuer();
    const admin = createAdmin({ address: bao.address, token: bao.rootToken, ca: bao.ca });
    const now = Date.now() / 1000;
    const jwt = issuer.issue({
      iat: Math.floor(now) - 0.5,
      nbf: Math.floor(now) - 0.25,
      exp: Math.floor(now) + 3600.75,
    });
    const workplace = createWorkplace({ address: `${proxy.address}/`, ca: proxy.ca, jwt });
    try {
      await provision(admin, defaultInstallation, { publicKeyPem: issuer.publicKeyPem, ...issuerDefaults });
      workplace.writeConfig((config) => {
        quickly(config);
        Object.assign(config['openbao'] ?? {}, { pathPrefix: '/secrets/openbao' });
      });
      const provider = startProvider(workplace);
      try {
        await untilHealthy(provider);
        const sealed = await provider.client.encrypt(randomBytes(32));
        assert.is((await provider.client.decrypt(sealed)).plaintext.length, 32);
      } finally {
        await provider.stop();
      }
      assert.equal(
        proxy.seen.filter((url) => !url.startsWith('/secrets/openbao/v1/')),
        [],
      );
      assert.ok(proxy.seen.includes('/secrets/openbao/v1/auth/k8s-demo-jwt/login'));
    } finally {
      proxy.close();
      workplace.remove();
      await admin.close();
      await bao.stop();
    }
  });
}

test.run();
