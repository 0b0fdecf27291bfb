/** `rspp drain`, `undrain`: instances are emptied (F-106). */
import { FleetService } from "@rspp/gen/rspp/registry/v1/fleet_service_pb";
import type { InstanceStatus } from "@rspp/gen/rspp/registry/v1/registry_pb";
import { DrainMode, InstanceService } from "@rspp/gen/rspp/registry/v1/registry_service_pb";
import type { DrainOptions } from "../commands/drain.ts";
import { EXIT_OK } from "../errors.ts";
import type { PlatformOptions } from "../options.ts";
import { createPrinter } from "../output/printer.ts";
import { paint } from "../output/style.ts";
import { table } from "../output/table.ts";
import { countWords } from "../output/words.ts";
import { connectTo } from "../platform-client/connect.ts";
import { userName } from "../user-name.ts";

export async function drain(instanceId: string | undefined, options: DrainOptions): Promise<number> {
  if (instanceId === undefined) return instances(options);
  const printer = createPrinter(options.json ?? false);
  const fleet = connectTo("registry", options.registry, FleetService, options);
  const mode = options.migrate ? DrainMode.MIGRATE : DrainMode.FINISH;
  const { within: deadlineMs, reason } = options;
  const { instance, sessions } = await fleet.ask((client) =>
    client.drainInstance({ instanceId, mode, deadlineMs, reason, actor: userName() }),
  );
  printer.data({ ...instanceData(instance), placed_sessions: sessions, mode: options.migrate ? "migrate" : "finish" });
  const what = options.migrate ? "move" : "finish";
  printer.line(
    `${paint("green", "draining")} ${paint("bold", instanceId)}: ${countWords(sessions, "session")} to ${what}`,
  );
  printer.line(paint("dim", `take it back: rspp undrain ${instanceId}`));
  return EXIT_OK;
}

export async function undrain(instanceId: string, options: PlatformOptions): Promise<number> {
  const printer = createPrinter(options.json ?? false);
  const fleet = connectTo("registry", options.registry, FleetService, options);
  const { wasDrained } = await fleet.ask((client) => client.undrainInstance({ instanceId, actor: userName() }));
  printer.data({ instance: instanceId, was_drained: wasDrained });
  const word = wasDrained ? paint("green", "takes sessions again") : paint("dim", "was not drained");
  printer.line(`${paint("bold", instanceId)} ${word}`);
  return EXIT_OK;
}

async function instances(options: PlatformOptions): Promise<number> {
  const printer = createPrinter(options.json ?? false);
  const registry = connectTo("registry", options.registry, InstanceService, options);
  const { view } = await registry.ask((client) => client.getRoutingView({}));
  const rows = (view?.instances ?? []).map(instanceData);
  printer.data({ view: view?.version ?? "", instances: rows });
  if (rows.length === 0) printer.line("no instance tells of itself");
  else {
    const columns = [
      { head: "INSTANCE" },
      { head: "ROLE" },
      { head: "STATE" },
      { head: "REGION" },
      { head: "SESSIONS", right: true },
      { head: "ADDRESS" },
    ];
    const cells = rows.map((row) => [
      paint("bold", row.instance),
      row.role,
      row.draining ? paint("yellow", "draining") : row.ready ? paint("green", "ready") : paint("red", "not ready"),
      row.region,
      `${row.sessions}/${row.capacity}`,
      row.address,
    ]);
    printer.lines(table(columns, cells));
  }
  return EXIT_OK;
}

function instanceData(status: InstanceStatus | undefined) {
  return {
    instance: status?.instanceId ?? "",
    role: status?.role ?? "",
    region: status?.region ?? "",
    address: status?.address ?? "",
    ready: status?.ready ?? false,
    draining: status?.draining ?? false,
    sessions: status?.sessions ?? 0,
    capacity: status?.capacitySessions ?? 0,
    build: status?.build ?? "",
  };
}
