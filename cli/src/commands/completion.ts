/** `rspp completion`: what a shell needs to complete commands and options, made from the commands themselves. */
import type { Command } from "commander";
import { EXIT_OK, usageError } from "../errors.ts";
import { type Done, examples } from "../options.ts";

const shells = ["bash", "zsh", "fish"] as const;
type Shell = (typeof shells)[number];

export function registerCompletion(cli: Command, done: Done): void {
  const command = cli
    .command("completion")
    .summary("complete commands and options in your shell")
    .description("print a completion script for a shell")
    .argument("<shell>", shells.join(", "))
    .action((shell: string) => {
      if (!isShell(shell))
        throw usageError(`${shell}: is no shell that is known here`, `name one of ${shells.join(", ")}`);
      process.stdout.write(scripts[shell](wordsOf(cli)));
      done(EXIT_OK);
    });
  examples(
    command,
    ["source <(rspp completion bash)", "in ~/.bashrc"],
    ["rspp completion zsh > ~/.zfunc/_rspp", "with ~/.zfunc in fpath"],
    ["rspp completion fish > ~/.config/fish/completions/rspp.fish", ""],
  );
}

function isShell(word: string): word is Shell {
  return shells.some((shell) => shell === word);
}

interface OptionWords {
  readonly flag: string;
  readonly about: string;
  /** Words it takes, where they are few and known. */
  readonly choices: readonly string[];
  readonly takesFile: boolean;
  readonly takesValue: boolean;
}

interface CommandWords {
  readonly name: string;
  readonly about: string;
  readonly options: readonly OptionWords[];
}

function wordsOf(cli: Command): CommandWords[] {
  return cli.commands.map((command) => ({
    name: command.name(),
    about: command.summary() || command.description(),
    options: command.options.flatMap(({ long, description, argChoices = [], flags }) =>
      long === undefined || long === null
        ? []
        : [
            {
              flag: long,
              about: description,
              choices: argChoices,
              takesFile: /<(?:file|dir)/.test(flags),
              takesValue: /[<[]/.test(flags),
            },
          ],
    ),
  }));
}

const scripts: Readonly<Record<Shell, (commands: readonly CommandWords[]) => string>> = { bash, zsh, fish };

function bash(commands: readonly CommandWords[]): string {
  const options = commands.map(
    ({ name, options: own }) => `    ${name}) words="${own.map((o) => o.flag).join(" ")} --help" ;;`,
  );
  const choices = commands.flatMap(({ name, options: own }) =>
    own
      .filter((o) => o.choices.length > 0)
      .map((o) => `    "${name} ${o.flag}") COMPREPLY=($(compgen -W "${o.choices.join(" ")}" -- "$word")); return ;;`),
  );
  return `# rspp completion for bash: source <(rspp completion bash)
_rspp() {
  local word="\${COMP_WORDS[COMP_CWORD]}" before="\${COMP_WORDS[COMP_CWORD-1]}" words=""
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W "${commands.map((c) => c.name).join(" ")} --help --version" -- "$word"))
    return
  fi
  case "\${COMP_WORDS[1]} $before" in
${choices.join("\n")}
  esac
  case "\${COMP_WORDS[1]}" in
${options.join("\n")}
  esac
  case "$word" in
    -*) COMPREPLY=($(compgen -W "$words" -- "$word")) ;;
    *) COMPREPLY=($(compgen -f -- "$word")) ;;
  esac
}
complete -o filenames -F _rspp rspp
`;
}

function zsh(commands: readonly CommandWords[]): string {
  const quoted = (text: string): string => text.replace(/'/g, "’").replace(/([[\]:])/g, "\\$1");
  const described = commands.map(({ name, about }) => `    '${name}:${quoted(about)}'`);
  const cases = commands.map(({ name, options }) => {
    const specs = options.map(({ flag, about, choices, takesFile, takesValue }) => {
      const value = choices.length > 0 ? `:value:(${choices.join(" ")})` : takesFile ? ":file:_files" : ":value:";
      return `'${flag}[${quoted(about)}]${takesValue ? value : ""}'`;
    });
    return `      ${name}) _arguments ${[...specs, "'--help[show its help]'", "'*:file:_files'"].join(" ")} ;;`;
  });
  return `#compdef rspp
# rspp completion for zsh: rspp completion zsh > ~/.zfunc/_rspp
_rspp() {
  local -a commands
  commands=(
${described.join("\n")}
  )
  if (( CURRENT == 2 )); then
    _describe command commands
    return
  fi
  local command="$words[2]"
  shift words
  (( CURRENT-- ))
  case "$command" in
${cases.join("\n")}
  esac
}
if [ "$funcstack[1]" = "_rspp" ]; then _rspp "$@"; else compdef _rspp rspp; fi
`;
}

function fish(commands: readonly CommandWords[]): string {
  const quoted = (text: string): string => `'${text.replace(/\\/g, "\\\\").replace(/'/g, "\\'")}'`;
  const lines = commands.flatMap(({ name, about, options }) => [
    `complete -c rspp -n __fish_use_subcommand -f -a ${name} -d ${quoted(about)}`,
    ...options.map(({ flag, about: words, choices, takesFile, takesValue }) => {
      const value =
        choices.length > 0 ? ` -x -a ${quoted(choices.join(" "))}` : takesFile ? " -r" : takesValue ? " -x" : "";
      return `complete -c rspp -n '__fish_seen_subcommand_from ${name}' -l ${flag.slice(2)} -d ${quoted(words)}${value}`;
    }),
  ]);
  return `# rspp completion for fish\n${lines.join("\n")}\n`;
}
