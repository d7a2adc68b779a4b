/** How help, mistakes in a command line and errors look. */
import type { Command } from 'commander';
import { standardError, standardOutput } from '../stdio.ts';
import { PROGRAM } from './next-steps.ts';
import { coloursFor, hang, widthOf } from './screen.ts';

/** Longer lines are hard to read. */
const WIDEST = 100;
const PIPED = 80;
/** A description is broken into lines where it has so much room. */
const MIN_DESCRIPTION = 20;

/** Commander takes them out again where there are none. */
const colours = coloursFor({ FORCE_COLOR: '1' });

interface HelpText {
  /** One paragraph each. */
  notes?: readonly string[];
  /** Command lines that work as they stand, two at least. */
  examples: readonly string[];
}

/** Adds notes, which are made to fit the terminal, and examples, which stay as they are, for copying. */
export function withHelp(command: Command, { notes = [], examples }: HelpText): Command {
  return command.addHelpText('after', () => {
    const paragraphs = notes.flatMap((note) => ['', ...hang('', note, helpWidth())]);
    return [...paragraphs, '', colours.bold('Examples:'), ...examples.map((line) => `  ${line}`)].join('\n');
  });
}

/** Makes `program` and its commands look alike, throw instead of ending the process, and tell mistakes with their remedy. */
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
        writeErr: (text) => standardError().write(text),
        outputError: (text, write) => write(describeError(describeMistake(text, command))),
      });
  }
}

/** What goes to standard error, with its line break. `message` begins without `error:`. */
export function describeError(message: string): string {
  const { red } = coloursFor(process.env, process.stderr);
  return hang('', `${red('error:')} ${message}`, widthOf(process.stderr))
    .map((line) => `${line}\n`)
    .join('');
}

/** From the words of commander, which are `error: what is wrong` and at times a suggestion on a line of its own. */
function describeMistake(text: string, command: Command): string {
  const [found = '', suggestion] = text
    .trimEnd()
    .replace(/^error: /, '')
    .split('\n');
  const remedy = suggestion?.replace(/^\((.*)\)$/, '$1') ?? remedyFor(found, command);
  const sentence = remedy === undefined ? found : `${found.replace(/\.$/, '')}. ${remedy}`;
  const [path, what] = command.parent
    ? [`${PROGRAM} ${command.name()}`, 'its options and examples']
    : [PROGRAM, 'all commands'];
  return `${sentence}\n\`${path} --help\` shows ${what}.`;
}

function remedyFor(found: string, { parent, commands }: Command): string | undefined {
  if (found.startsWith('too many arguments')) return 'Options begin with two dashes, as in --json.';
  if (parent) return undefined;
  if (found.startsWith('unknown option')) {
    return 'Options follow the command, as in `node dist/main.js status --json`.';
  }
  return found.startsWith('unknown command')
    ? `The commands are ${commands.map((each) => each.name()).join(', ')}.`
    : undefined;
}

function helpWidth(): number {
  return process.stdout.isTTY ? Math.min(WIDEST, widthOf()) : PIPED;
}
