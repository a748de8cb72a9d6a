// No path of this host reaches the plugin, whichever field it stands in.

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { checkField } from '../../../../shared/config/decode.ts';
import { type Field, fields } from '../../../../shared/config/fields.ts';
import { withoutPaths } from '../../../../shared/config/paths.ts';

/** What its row says, or only its name. */
const isPath = (field: Field) =>
  ('isPath' in field && field.isPath === true) ||
  (/(?:Path|File)$/u.test(field.path) && !/mountPath$/u.test(field.path));

const documentOf = (path: string, value: unknown) =>
  path.split('.').reduceRight<unknown>((inner, name) => ({ [name]: inner }), value);

for (const field of fields.filter(isPath)) {
  test(`${field.path} is withheld, in whatever form it is written`, () => {
    for (const value of ['/secret/place', ['/secret/place'], { '/secret/place': 1 }]) {
      assert.not.match(JSON.stringify(withoutPaths(documentOf(field.path, value))), /secret/u);
    }
    assert.not.match(JSON.stringify(withoutPaths({ [field.path]: '/secret/place' })), /secret/u);
  });

  test(`what is sent instead of ${field.path} is right for the rules of the field`, () => {
    const sent = withoutPaths({ [field.path]: '/secret/place' }) as Record<string, string>;
    assert.equal(checkField(field, sent[field.path]), []);
  });

  test(`${field.path} stays empty, or is left out, where nothing was written`, () => {
    for (const nothing of ['', null]) {
      assert.equal(withoutPaths(documentOf(field.path, nothing)), documentOf(field.path, nothing));
    }
  });
}

test.run();
