// The configuration's text → document: one YAML document, core schema, no foreign tags, no duplicate keys. The parser's own
// messages are not passed on: they can quote the file.

import { isAlias, isNode, isScalar, parseAllDocuments, visit } from 'yaml';
import { ConfigInvalid, problem } from '../../shared/config/problem.ts';
import { yamlExcessOf } from './yaml-bounds.ts';

/**
 * @param bytes  at most 1 MiB; what it would become is bounded by yaml-bounds.ts before it is parsed
 * @throws ProviderError `config_invalid` with the line of the fault
 */
export function parseYaml(bytes: Buffer): unknown {
  const text = decodeText(bytes);
  const excess = yamlExcessOf(text); // control: yaml.counted-before
  if (excess !== undefined) throw new ConfigInvalid([problem('config', excess.code, excess.message)]);
  const documents = parseAllDocuments(text, {
    schema: 'core',
    strict: true,
    uniqueKeys: true,
    merge: false,
    customTags: [],
    logLevel: 'silent',
    // Off: it copies a part of the text for every fault, and a text can consist of faults.
    prettyErrors: false, // control: yaml.pretty-errors
  });
  if ('empty' in documents || documents.length === 0) throw invalid('the file is empty');
  const [document] = documents;
  if (documents.length !== 1 || document === undefined) throw invalid('the file must hold exactly one YAML document');
  const [fault] = [...document.errors, ...document.warnings];
  if (fault !== undefined) throw invalid(`the YAML is broken on line ${lineAt(text, fault.pos[0])} (${fault.code})`);
  visit(document, {
    Node: (_key, node) => {
      if (isAlias(node)) throw invalid('aliases are not allowed');
      if (isNode(node) && node.tag !== undefined && !node.tag.startsWith('tag:yaml.org,2002:'))
        throw invalid('unknown tag');
      if (isScalar(node) && typeof node.value === 'bigint') throw invalid('a number is too large');
    },
  });
  return document.toJS({ maxAliasCount: 0 });
}

function decodeText(bytes: Buffer): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    throw invalid('the file is not UTF-8');
  }
}

function lineAt(text: string, offset: number): number {
  return text.slice(0, offset).split('\n').length;
}

function invalid(what: string): ConfigInvalid {
  return new ConfigInvalid([problem('config', 'yaml', what)]);
}
