/** Options that several commands share, so that they have one name, one meaning and one default everywhere. */
import { type Command, InvalidArgumentError, Option } from "commander";

/** A command has come to its end; the last word is the exit status. */
export type Done = (status: number) => void;

/** Where recordings, published pipelines and the lease incarnation are kept unless told otherwise. */
export const DATA_DEFAULT = ".data";

export interface PlatformOptions {
  readonly registry: string;
  readonly tenant: string;
  /** Reference of a token; never the token. */
  readonly token?: string;
  readonly json?: boolean;
}

export interface RuntimeOptions extends Omit<PlatformOptions, "registry"> {
  readonly runtime: string;
}

export interface ReplayOptions extends Omit<PlatformOptions, "registry"> {
  readonly replay: string;
}

const platformGroup = "Platform:";

function url(text: string): string {
  const parsed = URL.parse(text);
  if (parsed === null || !/^https?:$/.test(parsed.protocol))
    throw new InvalidArgumentError("it is no http:// or https:// address, e.g. http://127.0.0.1:7101");
  return text.replace(/\/+$/, "");
}

function tenant(text: string): string {
  if (text === "" || text.length > 64) throw new InvalidArgumentError("a tenant has 1 to 64 characters");
  return text;
}

/** A whole number of `min` to `max`, for an option's argument. */
export function whole(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!/^\d+$/.test(text) || value < min || value > max)
      throw new InvalidArgumentError(`a whole number of ${min} to ${max} is needed`);
    return value;
  };
}

/** Gathers the words of an option that may stand several times. */
export function gathered(text: string, before: string[] | undefined): string[] {
  return [...(before ?? []), ...text.split(",").map((word) => word.trim())].filter((word) => word !== "");
}

export const jsonOption = (about = "print one JSON object on stdout"): Option => new Option("--json", about);

export const dataOption = (about = "recordings, published pipelines and lease incarnation"): Option =>
  new Option("--data <dir>", about).default(DATA_DEFAULT);

/** Folders of node packages, for specs with custom nodes. */
export const nodesOption = (): Option =>
  new Option(
    "--nodes <place...>",
    "for custom nodes: folders of node packages, or of folders of them, and grpc://host:port",
  );

export const sileroOption = (): Option =>
  new Option("--silero <mode>", "neural voice activity detection where it is installed")
    .choices(["auto", "off"])
    .default("auto");

const addressOption = (flag: string, service: string, port: number): Option =>
  new Option(`--${flag} <url>`, `${service} service`)
    .env(`RSPP_${flag.toUpperCase()}`)
    .argParser(url)
    .default(`http://127.0.0.1:${port}`)
    .helpGroup(platformGroup);

export const registryOption = (): Option => addressOption("registry", "registry", 7_101);
export const runtimeOption = (): Option => addressOption("runtime", "runtime", 7_103);
export const replayOption = (): Option => addressOption("replay", "replay", 7_105);

/** Who asks: tenant and token. */
export function withCaller(command: Command): Command {
  return command
    .addOption(
      new Option("--tenant <id>", "tenant")
        .env("RSPP_TENANT")
        .argParser(tenant)
        .default("local")
        .helpGroup(platformGroup),
    )
    .addOption(
      // Not parsed here: what stands in place of a reference may be the token, and must not be repeated.
      new Option("--token <reference>", "token of the caller: env:NAME or file:/path (else RSPP_TOKEN)").helpGroup(
        platformGroup,
      ),
    );
}

/** Examples under a command's help. */
export function examples(command: Command, ...lines: readonly (readonly [string, string])[]): Command {
  const width = Math.max(...lines.map(([line]) => line.length));
  const text = lines.map(([line, about]) => `  $ ${line.padEnd(width)}${about === "" ? "" : `  # ${about}`}`.trimEnd());
  return command.addHelpText("after", `\nExamples:\n${text.join("\n")}`);
}
