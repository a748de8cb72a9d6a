// What the supervisor takes out of the configuration before it sends it: the plugin gets no path of this host.

const placeholders: Readonly<Record<string, string>> = {
  'server.socketPath': '/run/openbao-kms/kms.sock',
  'openbao.caCertFile': '/withheld',
  'auth.jwt.jwtFile': '/withheld',
  'auth.jwt.oauth2.clientSecretFile': '/withheld',
  'auth.jwt.oauth2.caCertFile': '/withheld',
  'auth.cert.pkcs11.certificateFile': '/withheld',
  'auth.cert.pkcs11.modulePath': '/withheld',
  'auth.cert.pkcs11.pinFile': '/withheld', // control: withheld.pin-file
  'state.path': '/withheld',
};

/** A copy of a valid document in which every path that was written is a placeholder of the same form. */
export function withoutPaths(document: unknown, at = ''): unknown {
  if (typeof document === 'string') return document !== '' ? (placeholders[at] ?? document) : document;
  if (typeof document !== 'object' || document === null || Array.isArray(document)) return document;
  const entries = Object.entries(document);
  return Object.fromEntries(
    entries.map(([name, value]) => [name, withoutPaths(value, at === '' ? name : `${at}.${name}`)]),
  );
}
