/** `rspp migrate`: an operator has a session go on on another runtime (F-157). */
import { FleetService } from "@rspp/gen/rspp/registry/v1/fleet_service_pb";
import { SessionService } from "@rspp/gen/rspp/runtime/v1/session_service_pb";
import type { MigrateOptions } from "../commands/migrate.ts";
import { EXIT_OK } from "../errors.ts";
import { createPrinter } from "../output/printer.ts";
import { connectTo } from "../platform-client/connect.ts";
import { userName } from "../user-name.ts";

/** Settles when the runtime has been asked; the session's own events tell when it is done. */
export async function migrate(sessionId: string, options: MigrateOptions): Promise<number> {
  const session = { tenantId: options.tenant, sessionId };
  const from = options.to === undefined ? await byRegistry(session, options) : await byRuntime(session, options);
  const printer = createPrinter(options.json ?? false);
  printer.data({ session: sessionId, from, ...(options.to === undefined ? {} : { to: options.to }) });
  const where = options.to === undefined ? "another runtime" : options.to;
  printer.line(`${sessionId} leaves ${from} for ${where} at its next turn boundary: rspp sessions shows where it is`);
  return EXIT_OK;
}

type Session = { readonly tenantId: string; readonly sessionId: string };

async function byRegistry(session: Session, options: MigrateOptions): Promise<string> {
  const registry = connectTo("registry", options.registry, FleetService, options);
  const ask = { session, actor: userName(), reason: options.reason };
  return (await registry.ask((client) => client.migrateSession(ask))).instanceId;
}

async function byRuntime(session: Session, options: MigrateOptions): Promise<string> {
  const runtime = connectTo("runtime", options.runtime, SessionService, options);
  const ask = { session, targetInstance: options.to ?? "", deadlineMs: options.deadline };
  return (await runtime.ask((client) => client.handOverSession(ask))).info?.instanceId ?? "";
}
