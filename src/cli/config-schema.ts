import { type OptionRow, ROWS } from './options.js';

/** The options that may stand in the configuration file. */
const FILE_ROWS = ROWS.filter((row) => !row.notInFile);

/**
 * The schema of the configuration, for editors and for checks before a roll-out: JSON Schema 2020-12. It is made of the
 * table of options and committed as `systemd/config.schema.json`.
 */
export function configSchema(): string {
  const schema = {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    title: 'Configuration of imds-tracer',
    type: ['object', 'null'],
    additionalProperties: false,
    properties: Object.fromEntries(FILE_ROWS.map((row) => [row.name, property(row)])),
  };
  return `${JSON.stringify(schema, null, 2)}\n`;
}

function property(row: OptionRow): object {
  const description = row.fixed ? `${row.description}. ${FIXED}` : row.description;
  if (row.argument === undefined) return { description, type: 'boolean' };
  const item = itemOf(row);
  if (!row.repeatable) return { description, ...item };
  return { description, anyOf: [item, { type: 'array', items: item }] };
}

function itemOf({ choices, form }: OptionRow): object {
  if (choices !== undefined) return { enum: choices };
  // YAML takes a text of digits alone for a number.
  return { type: ['string', 'integer'], ...(form ? { pattern: form.source } : { minLength: 1 }) };
}

const FIXED = 'Changes with a restart only.';

/** A configuration in which everything is commented out, committed as `systemd/config.yaml`. */
export function configSample(): string {
  const entries = FILE_ROWS.map(
    ({ name, argument, repeatable, choices, example, fixed, description }) =>
      `# ${description}\n${choices ? `# One of: ${choices.join(', ')}\n` : ''}${fixed ? `# ${FIXED}\n` : ''}` +
      `#${name}: ${argument === undefined ? 'true' : repeatable ? `['${example ?? choices?.[0] ?? argument}']` : (example ?? choices?.[0] ?? argument)}\n`,
  );
  return `${HEAD}\n${entries.join('\n')}`;
}

const HEAD = `# Configuration of imds-tracer: the options of \`imds-tracer trace\`, without their dashes. Options on the command line win.
# Read from /etc/imds-tracer/config.yaml, and again at SIGHUP (systemctl reload imds_tracer_tool).
`;
