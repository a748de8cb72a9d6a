// Check 9: this host has the metrics and health addresses. A port that another process has is not a refusal; whether the socket itself can
// be created shows when it is.

import { portNames } from '../../../shared/channel/messages.ts';
import { checkAddress } from '../../custody/listeners.ts';
import type { GateCheck } from './check.ts';

export const listeners: GateCheck<'loaded', never> = {
  title: 'this host has the metrics and health addresses',
  needs: ['loaded'],
  gives: [],
  look: ({ loaded }) => {
    for (const name of portNames) checkAddress(loaded.config.server, name);
    return {};
  },
};
