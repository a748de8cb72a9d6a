// The JSON Schema that `config schema` prints, made from the same table that the validator reads.

import { durationPattern } from '../time/duration.ts';
import { type Field, fields } from './fields.ts';

type Schema = { readonly [name: string]: unknown };
type ObjectSchema = { type: 'object'; additionalProperties: false; properties: Record<string, Schema> } & Schema;

const jwtBranches = [
  {
    title: 'file',
    required: ['jwtFile'],
    properties: { source: { const: 'file' }, jwtFile: { minLength: 1 }, oauth2: false },
  },
  {
    title: 'oauth2',
    required: ['source', 'oauth2', 'expectedIssuer', 'expectedAudience'],
    properties: {
      source: { const: 'oauth2' },
      jwtFile: false,
      expectedIssuer: { minLength: 1 },
      expectedAudience: { minItems: 1 },
    },
  },
];

/** Draft 2020-12; every object is closed. */
export function configSchema(): Schema {
  const root = emptyObject('');
  for (const field of fields) {
    const names = field.path.split('.');
    const leaf = names.pop() ?? '';
    sectionOf(root, names).properties[leaf] = fieldSchema(field);
  }
  const jwt = sectionOf(root, ['auth', 'jwt']);
  Object.assign(jwt, { oneOf: jwtBranches });
  return {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    title: 'bao-kms-provider configuration',
    ...root,
  };
}

function sectionOf(root: ObjectSchema, names: readonly string[]): ObjectSchema {
  let section = root;
  for (const [index, name] of names.entries()) {
    const next = section.properties[name] ?? emptyObject(names.slice(0, index + 1).join('.'));
    section.properties[name] = next;
    section = next as ObjectSchema;
  }
  return section;
}

function emptyObject(section: string): ObjectSchema {
  const names = requiredIn(section);
  const members = names.length === 0 ? {} : { required: names };
  return { type: 'object', additionalProperties: false, ...members, properties: {} };
}

/**
 * Members of a section that must be written: its own required fields, and each section within it that has one. A section that
 * is chosen, such as that of a login method, is required by that choice and not here.
 */
function requiredIn(section: string): readonly string[] {
  const inside = fields.filter(({ path }) => section === '' || path.startsWith(`${section}.`));
  const choice = inside[0]?.only;
  const required = inside.filter(({ isRequired, only }) => isRequired === true && only === choice);
  const depth = section === '' ? 0 : section.split('.').length;
  return [...new Set(required.map(({ path }) => path.split('.')[depth] ?? ''))];
}

function fieldSchema(field: Field): Schema {
  const about = { description: field.about };
  switch (field.kind) {
    case 'boolean':
      return { type: 'boolean', default: field.byDefault, ...about };
    case 'duration':
      return { type: 'string', pattern: durationPattern, default: field.byDefault, ...about };
    case 'strings':
      return { type: 'array', items: { type: 'string', minLength: 1 }, ...about };
    case 'integer':
      return { type: 'integer', ...rulesSchema(field.rules), ...byDefault(field.byDefault), ...about };
    case 'string':
      return { type: 'string', ...rulesSchema(field.rules), ...byDefault(field.byDefault), ...about };
  }
}

function rulesSchema(rules: readonly { readonly schema?: Schema }[]): Schema {
  return Object.assign({}, ...rules.map((rule) => rule.schema ?? {}));
}

function byDefault(value: string | number | undefined): Schema {
  return value === undefined ? {} : { default: value };
}
