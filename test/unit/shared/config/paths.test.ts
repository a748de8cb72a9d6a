// No path of this host reaches the plugin, whichever field it stands in.

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { fields } from '../../../../shared/config/fields.ts';
import { withoutPaths } from '../../../../shared/config/paths.ts';

const isPath = (path: string) => /(?:Path|File)$/u.test(path) && !/mountPath$/u.test(path);

for (const { path } of fields.filter((field) => isPath(field.path))) {
  test(`${path} is withheld`, () => {
    const document = path.split('.').reduceRight<unknown>((inner, name) => ({ [name]: inner }), '/secret/place');
    assert.not.match(JSON.stringify(withoutPaths(document)), /secret/u);
  });
}

test.run();
