// The smallest configuration that is right, for tests to break.

export type Document = Record<string, unknown>;

export function minimalDocument(): Document {
  return {
    configVersion: 'v1alpha1',
    server: { socketPath: '/run/openbao-kms/kms.sock', socketMode: '0660', socketGroup: 'openbao-kms-socket' },
    openbao: {
      address: 'https://bao.example.internal:8200',
      caCertFile: '/etc/openbao-kms/tls/ca.crt',
      tlsServerName: 'bao.example.internal',
      instanceId: 'bao-prod-a',
    },
    auth: {
      method: 'jwt',
      jwt: {
        source: 'file',
        mountPath: 'auth/k8s-workload-a-jwt',
        role: 'openbao-kms-control-plane',
        jwtFile: '/var/lib/openbao-kms/identity.jwt',
      },
    },
    transit: {
      mountPath: 'transit',
      keyName: 'k8s-workload-a-etcd',
      keyIdScope: {
        providerName: 'openbao-kms-workload-a',
        clusterId: 'workload-a',
        transitMountId: 'transit-prod',
        keyLineageId: '0f1e2d3c4b5a69788796a5b4c3d2e1f0',
      },
    },
  };
}

/** A document, if no other the minimal one, with one value set by its dotted path; undefined removes it. */
export function documentWith(path: string, value: unknown, document = minimalDocument()): Document {
  const names = path.split('.');
  const leaf = names.pop() ?? '';
  let section = document;
  for (const name of names) {
    section[name] ??= {};
    section = section[name] as Document;
  }
  if (value === undefined) delete section[leaf];
  else section[leaf] = value;
  return document;
}
