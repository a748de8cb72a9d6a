// Proposals in flight, by id, until the supervisor has said what became of them.

import type { PluginMessage, SupervisorMessage } from '../../shared/channel/messages.ts';
import type { CommitOutcome } from './ledger.ts';

export type Commits = {
  /** @throws the reason of the stop; a proposal that waits when the stop comes is answered by nobody */
  readonly propose: (state: string) => Promise<CommitOutcome>;
  readonly committed: (message: Extract<SupervisorMessage, { kind: 'committed' }>) => void;
};

/** One at a time: probes never overlap. */
export function createCommits(send: (message: PluginMessage) => void, stopped: AbortSignal): Commits {
  let lastId = 0;
  const waiting = new Map<number, (outcome: CommitOutcome) => void>();
  return {
    propose: (state) => {
      if (stopped.aborted) return Promise.reject(stopped.reason);
      lastId += 1;
      const commitId = lastId;
      return new Promise((resolve) => {
        waiting.set(commitId, resolve);
        send({ kind: 'propose', commitId, state }); // step: commit.propose
      });
    },
    committed: (message) => {
      const { outcome, onDisk, finding } = message;
      waiting.get(message.commitId)?.({ outcome, onDisk, ...(finding === undefined ? {} : { finding }) }); // step: commit.settled
      waiting.delete(message.commitId);
    },
  };
}
