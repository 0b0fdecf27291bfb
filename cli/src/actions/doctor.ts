/** `rspp doctor`: what is there, what is missing, what to do about it. */
import type { Command } from "commander";
import type { DoctorOptions } from "../commands/doctor.ts";
import type { DoctorFinding } from "../doctor/finding.ts";
import { dataFindings, machineFindings } from "../doctor/machine.ts";
import { portFinding, serviceFinding } from "../doctor/platform.ts";
import { EXIT_FAILED, EXIT_OK } from "../errors.ts";
import { createPrinter, createProgress } from "../output/printer.ts";
import { type Paint, padded, paint } from "../output/style.ts";
import { countWords, msWords } from "../output/words.ts";
import { portBaseDefault, portOffsets } from "../up/plan.ts";

const services = ["registry", "lease", "runtime", "gateway", "replay", "websocket"] as const;

export async function doctor(options: DoctorOptions, command: Command): Promise<number> {
  const printer = createPrinter(options.json ?? false);
  const progress = createProgress();
  progress.tell("looking around");
  const wanted = (name: string): boolean => ["cli", "env"].includes(command.getOptionValueSource(name) ?? "");
  const platform = await Promise.all(
    services.map((name) => serviceFinding({ name, url: options[name].replace(/\/+$/, ""), wanted: wanted(name) })),
  );
  const up = platform.some(({ latency_ms }) => latency_ms !== undefined);
  const held = new Set(
    platform.filter(({ latency_ms }) => latency_ms !== undefined).map(({ name }) => portOf(options, name)),
  );
  const ports = await Promise.all(
    Object.entries(portOffsets).map(([name, offset]) => {
      const port = portBaseDefault + offset;
      // The stream port of a service that answers is its own as well.
      return portFinding(name, port, held.has(port) || held.has(port - 100));
    }),
  );
  const findings = [...machineFindings(), ...dataFindings(options.data), ...ports, ...platform];
  progress.done();
  const failed = findings.filter(({ state }) => state === "fail");
  printer.data({ ok: failed.length === 0, platform_up: up, findings });
  printer.lines(report(findings));
  if (!up) printer.line(paint("dim", "\nno platform runs at these addresses: start one with `rspp up`"));
  printer.line(verdict(findings));
  return failed.length === 0 ? EXIT_OK : EXIT_FAILED;
}

function portOf(options: DoctorOptions, name: string): number {
  const url = URL.parse(options[name as (typeof services)[number]]);
  return url?.hostname === "127.0.0.1" || url?.hostname === "localhost" ? Number(url.port) : 0;
}

const signs: Readonly<Record<DoctorFinding["state"], readonly [string, Paint]>> = {
  ok: ["ok", "green"],
  missing: ["--", "yellow"],
  fail: ["!!", "red"],
};

function report(findings: readonly DoctorFinding[]): string[] {
  const width = Math.max(...findings.map(({ name }) => name.length));
  let group = "";
  return findings.flatMap((finding) => {
    const [sign, how] = signs[finding.state];
    const latency = finding.latency_ms === undefined ? "" : `, ${msWords(finding.latency_ms)}`;
    const lines = [`  ${paint(how, sign)}  ${padded(finding.name, width)}  ${finding.found}${latency}`];
    if (finding.remedy !== "") lines.push(`      ${padded("", width)}  ${paint("dim", `help: ${finding.remedy}`)}`);
    if (finding.group !== group) {
      lines.unshift(...(group === "" ? [] : [""]), paint("bold", finding.group));
      group = finding.group;
    }
    return lines;
  });
}

function verdict(findings: readonly DoctorFinding[]): string {
  const count = (state: DoctorFinding["state"]): number => findings.filter((finding) => finding.state === state).length;
  const broken = count("fail");
  const missing = count("missing");
  const optional = missing === 0 ? "" : `; ${missing} not there (--)`;
  if (broken === 0) return `\n${paint("green", "nothing is broken")}${optional}`;
  return `\n${paint("red", `${countWords(broken, "thing")} to mend (!!)`)}${optional}`;
}
