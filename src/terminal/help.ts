/** Format of help, usage errors and other errors. */
import type { Command } from 'commander';
import { standardOutput, writeNotice } from '../stdio.ts';
import { PROGRAM } from './next-steps.ts';
import { coloursFor, hang, widthOf } from './screen.ts';

/** Longer lines are hard to read. */
const MAX_WIDTH = 100;
const PIPED_WIDTH = 80;
/** A description is wrapped only if it has at least this many columns. */
const MIN_DESCRIPTION = 20;

/** Always on: commander removes the colours where the output has none. */
const colours = coloursFor({ FORCE_COLOR: '1' });

interface HelpText {
  /** One paragraph each. */
  notes?: readonly string[];
  /** At least two command lines that work unchanged. */
  examples: readonly string[];
}

/** Adds notes, wrapped to the terminal, and examples, which are never wrapped, so that they can be copied. */
export function withHelp(command: Command, { notes = [], examples }: HelpText): Command {
  return command.addHelpText('after', () => {
    const paragraphs = notes.flatMap((note) => ['', ...hang('', note, helpWidth())]);
    return [...paragraphs, '', colours.bold('Examples:'), ...examples.map((line) => `  ${line}`)].join('\n');
  });
}

/** Gives `program` and its commands one format, lets them throw instead of exiting, and adds a remedy to usage errors. */
export function prepare(program: Command): void {
  for (const command of [program, ...program.commands]) {
    command
      .exitOverride()
      .configureHelp({
        helpWidth: helpWidth(),
        minWidthToWrap: MIN_DESCRIPTION,
        styleTitle: (title) => colours.bold(title),
      })
      .configureOutput({
        writeOut: (text) => standardOutput().write(text),
        writeErr: (text) => writeNotice('error', text.trimEnd().replace(/^error: /, ''), { text }),
        outputError: (text, write) => write(describeError(describeUsageError(text, command))),
      });
  }
}

/** Formats an error for standard error, with a line break at the end. `message` begins without `error:`. */
export function describeError(message: string): string {
  const { red } = coloursFor(process.env, process.stderr);
  return describeMessage(`${red('error:')} ${message}`);
}

/** Formats a message for standard error, with a line break at the end. */
export function describeMessage(message: string): string {
  return hang('', message, widthOf(process.stderr))
    .map((line) => `${line}\n`)
    .join('');
}

/** `text` is commander's: `error: MESSAGE`, sometimes with a suggestion on a second line. */
function describeUsageError(text: string, command: Command): string {
  const [found = '', suggestion] = text
    .trimEnd()
    .replace(/^error: /, '')
    .split('\n');
  const remedy = suggestion?.replace(/^\((.*)\)$/, '$1') ?? remedyFor(found, command);
  const sentence = remedy === undefined ? found : `${found.replace(/\.$/, '')}. ${remedy}`;
  const [path, subject] = command.parent
    ? [`${PROGRAM} ${command.name()}`, 'its options and examples']
    : [PROGRAM, 'all commands'];
  return `${sentence}\n\`${path} --help\` shows ${subject}.`;
}

function remedyFor(found: string, { parent, commands }: Command): string | undefined {
  if (found.startsWith('too many arguments')) return 'Options begin with two dashes, for example --json.';
  if (parent) return undefined;
  if (found.startsWith('unknown option')) {
    return 'Options follow the command, as in `node dist/main.js status --json`.';
  }
  return found.startsWith('unknown command')
    ? `The commands are ${commands.map((each) => each.name()).join(', ')}.`
    : undefined;
}

function helpWidth(): number {
  return process.stdout.isTTY ? Math.min(MAX_WIDTH, widthOf()) : PIPED_WIDTH;
}
