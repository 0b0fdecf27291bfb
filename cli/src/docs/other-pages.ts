/** The catalogue of errors and the commands, as pages of the reference. */

import { ErrorReasonSchema } from "@rspp/gen/rspp/common/v1/error_pb";
import { errorRule } from "@rspp/rpc/errors";
import type { Command } from "commander";
import { grpcCodeOf } from "../platform-client/grpc-code.ts";
import { cell, code, markdownTable } from "./markdown.ts";

export function errorsPage(version: string, about: ReadonlyMap<string, string>): string {
  const rows = ErrorReasonSchema.values
    .filter(({ number }) => number !== 0)
    .map(({ name, number }) => {
      const rule = errorRule(number);
      const retry = rule.retryable ? "yes" : "";
      return [`\`${rule.name}\``, cell(about.get(name) ?? ""), `${grpcCodeOf(number)}`, retry, cell(rule.remedy)];
    });
  return [
    "# Errors",
    "",
    version,
    "",
    "Every refusal carries one `ErrorDetail`: reason, service, fields, remedy. The reason is one of these.",
    "",
    ...markdownTable(["reason", "about", "gRPC code", "may be repeated", "what to do"], rows),
  ].join("\n");
}

export function commandsPage(cli: Command, version: string): string {
  const sections = cli.commands.flatMap((command) => {
    const help = command.createHelp();
    const args = command.registeredArguments.map((arg) => [
      `\`${help.argumentTerm(arg)}\``,
      cell(help.argumentDescription(arg)),
    ]);
    const options = command.options.map((option) => [`\`${option.flags}\``, cell(help.optionDescription(option))]);
    return [
      `## rspp ${command.name()}`,
      "",
      cell(command.description()),
      "",
      ...code("text", help.commandUsage(command)),
      ...markdownTable(["argument", "about"], args),
      ...markdownTable(["option", "about"], options),
    ];
  });
  return [
    "# Commands",
    "",
    version,
    "",
    "Exit statuses: 0 done, 1 ran and failed, 2 wrong usage or bad input, 3 the platform cannot be reached.",
    "",
    ...sections,
  ].join("\n");
}
