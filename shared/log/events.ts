// Every event of the log, once: who writes it, and what it tells an operator. An event that is not here does not compile, and one that
// the supervisor writes is not believed from a plugin; docs/logs.md is made from this table.

type EventRow = {
  readonly by: 'supervisor' | 'plugin' | 'both';
  /** What happened, and what to do where something is to be done. */
  readonly about: string;
};

const supervisor = (about: string): EventRow => ({ by: 'supervisor', about });
const plugin = (about: string): EventRow => ({ by: 'plugin', about });

export const logEvents = {
  'auth.login': plugin('A login at OpenBao succeeded or failed; `hint` says what to do about a failure.'),
  'auth.renewal': plugin('A renewal of the token succeeded or failed; after a failure a login follows.'),
  'bound.reached': plugin(
    'A client wanted more than its share and was refused; `name` is the bound. See the operations page.',
  ),
  'clock.regressed': plugin('The clock of this node went back; the order of times in the state is kept.'),
  'config.warning': supervisor(
    'A field of the configuration has a value that is allowed but doubtful; `name` is the field.',
  ),
  'credential.changed': supervisor('A credential file has new content, which was sent to the plugin.'),
  'credential.in_use': supervisor('The plugin says that it uses this generation of a credential.'),
  'credential.refused': supervisor(
    'A credential file cannot be read safely (`reason`), or the plugin says that its content was refused (`error_class`); the one before stays in use.',
  ),
  'credential.unproven': supervisor(
    'The plugin says that it learned nothing about a new credential yet; it is tried again.',
  ),
  'decrypt.batch_off': plugin('OpenBao refused several Decrypts in one request; each goes alone for 5 minutes.'),
  'directory.found': supervisor('A directory that was gone is there again.'),
  'directory.gone': supervisor('A directory that is needed was removed, replaced or cannot be reached.'),
  'directory.replaced': supervisor('A directory of credentials was replaced; the new one is watched.'),
  'directory.unsafe': supervisor(
    'Others may write to the directory of the socket, or it has another owner; correct its owner and mode.',
  ),
  'effect.failed': supervisor('A step of the supervisor failed unexpectedly and is tried again; please report it.'),
  'gate.refused': supervisor('A check of the gate refused a start or a relaunch; `check` and `hint` say why.'),
  'key.profile': plugin('The Transit key is accepted, but has settings that are advised against.'),
  'key.promoted': plugin('A newer version of the Transit key became the active one.'),
  'kms.request': plugin('A call of the API server; at level debug when it succeeded.'),
  'openbao.request': plugin('A request to OpenBao; at level debug when it succeeded.'),
  'plugin.drained': supervisor(
    'A plugin that was asked to end has finished its calls; `calls_cut` were not finished in time.',
  ),
  'plugin.exited': supervisor('A plugin process ended.'),
  'plugin.giving_up': supervisor('A plugin cannot serve, and says why.'),
  'plugin.not_greeted': supervisor('A new plugin could not be told what to do and is killed.'),
  'plugin.output': supervisor('The plugin wrote a line that is no event of its log; it stands in `output`.'),
  'plugin.output_dropped': supervisor(
    'The plugin wrote too many lines in a second, or reported on its credentials too often; `suppressed` were dropped.',
  ),
  'plugin.started': supervisor('A plugin process was started.'),
  'plugin.stuck': supervisor('A plugin does not read what it is told and is replaced.'),
  'plugin.unconfined': supervisor('A plugin is not confined as it must be and is killed.'),
  'plugin.violation': supervisor('A plugin sent what it may not send and is killed. It may have been taken over.'),
  'port.bound': supervisor('A diagnostics port that another process had taken is now bound.'),
  'port.repair_refused': supervisor(
    'A second plugin for a diagnostics port was not started; the running one goes on serving.',
  ),
  'port.replaced': supervisor(
    'A port refused every connection and was bound again. The plugin may have been taken over.',
  ),
  'port.served': supervisor('A second plugin serves on every diagnostics port that is bound.'),
  'port.shut': supervisor('A port was shut down and cannot be bound at present; binding it is tried again every 5 s.'),
  'port.taken': supervisor('Another process has a diagnostics port; binding it is tried again every 5 s.'),
  'reload.done': supervisor('The configuration was read again, and a plugin serves with it.'),
  'reload.refused': supervisor('The new configuration was refused; the previous one stays in force.'),
  'rights.changed': plugin(
    'What is wrong with the rights of the token has changed; without `finding`, nothing is wrong any more.',
  ),
  'rights.unknown': plugin('OpenBao did not say which rights the token has.'),
  'serve.departing': supervisor(
    'The supervisor ends, so that the service manager starts it anew with a directory that was replaced.',
  ),
  'serve.departure_postponed': supervisor(
    'The supervisor would end for a directory that is gone, and waits; `hint` says for what.',
  ),
  'serve.development': supervisor('The provider was started with `--development`; never use this in a cluster.'),
  'serve.ready': supervisor('The service manager was told that the start is complete.'),
  'serve.shutdown': supervisor('The supervisor ends; `exit_code` and `reason` say why.'),
  'serve.start': supervisor('The gate passed and the listeners are bound.'),
  'socket.found': supervisor('The name of the socket is there again.'),
  'socket.lost': supervisor('The name of the socket is missing or not ours; it is repaired where that is safe.'),
  'socket.repair_refused': supervisor('The socket could not be bound again; the running plugin goes on serving.'),
  'socket.repaired': supervisor('The socket was bound again under its name.'),
  'socket.replaced': supervisor(
    'The socket refused every connection and was bound again. The plugin may have been taken over.',
  ),
  'socket.stale_removed': supervisor('A socket that nobody served any more was replaced at the start.'),
  'state.checkpoint_recreated': supervisor('The checkpoint was missing and was written again from the state.'),
  'state.clock_behind': supervisor(
    'The clock is earlier than a time in the state, so times cannot be judged; correct the clock.',
  ),
  'state.refused': supervisor(
    'A plugin proposed a state that breaks the rules; nothing was written, and the plugin is killed.',
  ),
  'state.save_failed': supervisor('A state could not be saved; `reason` says what is on disk.'),
  'status.probe': plugin('A probe of OpenBao ended; at level debug when it succeeded or was skipped.'),
} as const satisfies Record<string, EventRow>;

export type LogEventName = keyof typeof logEvents;

const pluginEvents: ReadonlySet<string> = new Set(
  // control: events.by-plugin
  Object.entries(logEvents).flatMap(([name, { by }]) => (by === 'supervisor' ? [] : [name])),
);

/** Whether it is the name of an event that a plugin writes. */
export function isPluginEvent(name: unknown): name is LogEventName {
  return typeof name === 'string' && pluginEvents.has(name); // control: events.known
}
