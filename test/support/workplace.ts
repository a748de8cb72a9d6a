// A directory as a provider needs it on a node: configuration, CA, JWT, state and runtime directory, each with owner and
// mode, and the unprivileged user that runs it. As root that is a user of no name; else it is the caller.

import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { issuerDefaults } from './jwt-issuer.ts';
import { defaultInstallation, type Installation } from './openbao/provision.ts';
import { linkOrCopy } from './runtime.ts';

export const root = new URL('../..', import.meta.url).pathname;
/** Nobody's ids, far from those that distributions hand out. */
const unprivilegedId = 64_321;
/** The plugin's user and group, where it has its own. */
export const pluginId = 64_322;
/** What the shipped unit gives the supervisor, and nothing else. */
const supervisorCapabilities = '-all,+setuid,+setgid,+setpcap,+kill';

export type Workplace = {
  readonly directory: string;
  readonly configPath: string;
  readonly socketPath: string;
  readonly statePath: string;
  readonly jwtPath: string;
  readonly caPath: string;
  readonly uid: number;
  /** The runtime, where any user can start it. */
  readonly runtime: string;
  /** Command and arguments that start the provider as its user. */
  readonly command: (...args: string[]) => [string, ...string[]];
  /** Replaces a credential as a good agent does: new file, owner, mode, rename. */
  readonly replaceFile: (path: string, content: string, mode?: number) => void;
  readonly writeConfig: (change?: (config: ConfigDocument) => void) => void;
  readonly remove: () => void;
};

export type WorkplaceOptions = {
  readonly address: string;
  readonly ca: string;
  readonly jwt: string;
  readonly installation?: Installation;
  /** The distribution to run; `dist` of this project unless told otherwise. */
  readonly distribution?: string;
  /** As in the shipped unit: the plugin has a user of its own. Needs root. */
  readonly hasTwoUsers?: boolean;
};

export type ConfigDocument = Record<string, Record<string, unknown>> & { configVersion: string };

export function createWorkplace(options: WorkplaceOptions): Workplace {
  const built = options.distribution ?? join(root, 'dist');
  if (!existsSync(join(built, 'bao-kms-provider'))) throw new Error(`nothing is built in ${built}: npm run build`);
  const directory = mkdtempSync(join(tmpdir(), 'bao-kms-'));
  const isRoot = process.geteuid?.() === 0;
  const uid = isRoot ? unprivilegedId : (process.geteuid?.() ?? -1);
  const own = (path: string, mode: number) => {
    chmodSync(path, mode);
    if (isRoot) chownSync(path, uid, uid);
  };
  const at = (name: string) => join(directory, name);
  own(directory, 0o755);
  for (const name of ['run', 'state', 'etc']) {
    mkdirSync(at(name));
    own(at(name), 0o750);
  }
  const paths = {
    configPath: at('etc/config.yaml'),
    socketPath: at('run/kms.sock'),
    statePath: at('state/key-registry.json'),
    jwtPath: at('etc/identity.jwt'),
    caPath: at('etc/ca.crt'),
  };
  const replaceFile = (path: string, content: string, mode = 0o640) => {
    writeFileSync(`${path}.new`, content, { mode: 0o600 });
    own(`${path}.new`, mode);
    renameSync(`${path}.new`, path);
  };
  const installation = options.installation ?? defaultInstallation;
  const writeConfig = (change: (config: ConfigDocument) => void = () => {}) => {
    const config = configDocument(paths, options.address, installation, isRoot ? uid : (process.getegid?.() ?? uid));
    if (options.hasTwoUsers === true) config['process'] = { pluginUser: String(pluginId) };
    change(config);
    replaceFile(paths.configPath, stringify(config));
  };
  replaceFile(paths.caPath, options.ca, 0o644);
  replaceFile(paths.jwtPath, options.jwt);
  writeConfig();
  const distribution = reachable(built, isRoot, uid, directory);
  const drop = isRoot ? ['setpriv', `--reuid=${uid}`, `--regid=${uid}`, '--clear-groups'] : [];
  if (options.hasTwoUsers === true) {
    const sets = ['bounding-set', 'inh-caps', 'ambient-caps'];
    drop.push(...sets.map((set) => `--${set}=${supervisorCapabilities}`));
  }
  if (isRoot) drop.push('--');
  return {
    directory,
    ...paths,
    uid,
    runtime: `${distribution}/lib/node`,
    replaceFile,
    writeConfig,
    command: (...args) => {
      const [first = '', ...rest] = [...drop, `${distribution}/bao-kms-provider`, ...args];
      return [first, ...rest];
    },
    remove: () => rmSync(directory, { recursive: true, force: true }),
  };
}

/** The distribution where the user can reach it: in place, or a copy (the runtime as a hard link where possible). */
function reachable(distribution: string, isRoot: boolean, uid: number, directory: string): string {
  if (!isRoot || canExecute(`${distribution}/lib/node`, uid)) return distribution;
  const copy = join(directory, 'dist');
  cpSync(distribution, copy, { recursive: true, filter: (source) => !source.endsWith('/lib/node') });
  linkOrCopy(`${distribution}/lib/node`, `${copy}/lib/node`);
  execFileSync('chmod', ['-R', 'a+rX', copy]);
  return copy;
}

function canExecute(path: string, uid: number): boolean {
  try {
    execFileSync('setpriv', [`--reuid=${uid}`, `--regid=${uid}`, '--clear-groups', '--', 'test', '-x', path], {
      stdio: 'ignore',
    });
    return true;
  } catch {
    return false;
  }
}

function configDocument(
  paths: { readonly socketPath: string; readonly statePath: string; readonly jwtPath: string; readonly caPath: string },
  address: string,
  installation: Installation,
  gid: number,
): ConfigDocument {
  return {
    configVersion: 'v1alpha1',
    server: {
      socketPath: paths.socketPath,
      socketMode: '0660',
      socketGroup: String(gid),
      metricsAddress: '127.0.0.1:0',
      healthAddress: '127.0.0.1:0',
    },
    openbao: { address, caCertFile: paths.caPath, tlsServerName: 'localhost', instanceId: 'bao-test' },
    auth: {
      method: 'jwt',
      jwt: {
        source: 'file',
        mountPath: installation.authPath,
        role: installation.role,
        jwtFile: paths.jwtPath,
        expectedIssuer: issuerDefaults.issuer,
        expectedAudience: [issuerDefaults.audience],
        expectedSubject: issuerDefaults.subject,
      },
    },
    transit: {
      mountPath: installation.mountPath,
      keyName: installation.keyName,
      keyIdScope: {
        providerName: 'openbao-kms-test',
        clusterId: 'cluster-test',
        transitMountId: 'transit-test',
        keyLineageId: '0f1e2d3c4b5a69788796a5b4c3d2e1f0',
      },
    },
    state: { path: paths.statePath },
  } as unknown as ConfigDocument;
}
