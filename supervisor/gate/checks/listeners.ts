// Check 9: the addresses of metrics and health are of this host. A port that somebody else has is no refusal; whether the socket itself can
// be made shows when it is.

import { portNames } from '../../../shared/channel/messages.ts';
import { checkAddress } from '../../custody/listeners.ts';
import type { GateCheck } from './check.ts';

export const listeners: GateCheck<'loaded', never> = {
  title: 'this host has the addresses of metrics and health',
  needs: ['loaded'],
  gives: [],
  look: ({ loaded }) => {
    for (const name of portNames) checkAddress(loaded.config.server, name);
    return {};
  },
};
