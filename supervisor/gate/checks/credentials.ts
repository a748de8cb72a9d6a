// Check 3: every credential file that the configuration names can be read safely.

import { createCredentialCustody, credentialFiles } from '../../custody/credentials.ts';
import type { GateCheck } from './check.ts';

export const credentials: GateCheck<'loaded', 'credentials'> = {
  title: 'the credential and certificate files can be read safely',
  needs: ['loaded'],
  gives: ['credentials'],
  look: ({ loaded }, { deps }) => {
    const custody = createCredentialCustody(credentialFiles(loaded.config), deps.identity, deps.credentialFiles); // step: custody.create
    custody.check();
    return { credentials: custody };
  },
};
