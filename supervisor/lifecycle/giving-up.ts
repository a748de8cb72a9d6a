// What a plugin gives up for before its `ready`, as a refusal of the check that would have found it, had the supervisor been
// allowed to look at the content.

import type { PluginMessage } from '../../shared/channel/messages.ts';
import { type CaFinding, caFindings } from '../../shared/errors/cause.ts';
import { type ErrorClass, errorClasses, ProviderError } from '../../shared/errors/error.ts';
import { type CheckId, GateRefusal } from '../refusal.ts';

type GivingUp = Extract<PluginMessage, { kind: 'giving_up' }>;

const checks: Partial<Record<ErrorClass, CheckId>> = {
  ca_invalid: 'gate.credentials',
  config_invalid: 'gate.config',
  runtime_unsupported: 'gate.runtime',
  state_corrupt: 'gate.state',
  state_binding: 'gate.state',
};

const caField = 'openbao.caCertFile';
const caHints: Readonly<Record<CaFinding, string>> = {
  ca_empty: 'is empty; install the CA certificate of OpenBao in PEM form',
  ca_der: 'is in DER form; convert it with `openssl x509 -inform der -in FILE -outform pem`',
  ca_no_certificate: 'holds no PEM certificate; install the CA certificate of OpenBao, not a key or a request',
  ca_damaged: 'holds a damaged certificate; look at it with `openssl x509 -in FILE -noout -text`, and install it anew',
};

/** An error with class, hint and field; a GateRefusal where a check of the gate stands for it. */
export function refusalOf(message: GivingUp): Error {
  const errorClass = errorClasses.find((one) => one === message.class) ?? 'internal';
  const error = errorClass === 'ca_invalid' ? caError(message) : new ProviderError(errorClass, generalHint);
  const check = checks[errorClass];
  return check === undefined ? error : new GateRefusal(check, error);
}

const generalHint = 'the plugin could not start with what it was given; see the class in docs/errors.md';

function caError({ finding }: GivingUp): ProviderError {
  const known = caFindings.find((one) => one === finding) ?? 'ca_no_certificate';
  return new ProviderError('ca_invalid', `${caField}: ${caHints[known]}`, {
    facts: { field: caField, finding: known },
  });
}
