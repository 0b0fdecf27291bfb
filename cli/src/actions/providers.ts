/** `rspp providers`: what can be configured, and whether a provider keeps the contract when it is called. */
import { createSystemClock } from "@rspp/host/system-clock";
import { createProviders } from "@rspp/provider-gateway/providers";
import { vendorCatalogue } from "@rspp/provider-gateway/vendors/catalogue";
import { vendorsOf } from "@rspp/provider-gateway/vendors/vendors";
import type { ProvidersOptions } from "../commands/providers.ts";
import { EXIT_FAILED, EXIT_OK, usageError } from "../errors.ts";
import { createPrinter } from "../output/printer.ts";
import { paint } from "../output/style.ts";
import { table } from "../output/table.ts";
import { checkProvider } from "../providers/check.ts";

export async function providers(action: string, name: string | undefined, options: ProvidersOptions): Promise<number> {
  if (action === "list") return list(options);
  if (action !== "test")
    throw usageError(`${action}: is nothing that can be done with providers`, "name one of list, test");
  if (name === undefined) throw usageError("providers test needs a name", "`rspp providers list` names them");
  return test(name, options);
}

async function list({ json }: ProvidersOptions): Promise<number> {
  const printer = createPrinter(json ?? false);
  const clock = createSystemClock();
  const all = createProviders({ clock, vendors: await vendorsOf(process.env) });
  const found = all.map((provider) => {
    const { name, modality } = provider;
    const entry = vendorCatalogue.find((one) => one.name === name);
    return {
      name,
      modality,
      available: provider.available?.() ?? true,
      variables: entry === undefined ? [] : [entry.keyVariable],
    };
  });
  for (const provider of all) await provider.close?.();
  printer.data({ ok: true, providers: found });
  const columns = [{ head: "PROVIDER" }, { head: "KIND" }, { head: "STATE" }, { head: "CONFIGURED BY" }];
  const cells = found.map(({ name, modality, available, variables }) => [
    paint("bold", name),
    modality,
    available ? paint("green", "available") : "not configured",
    variables.join(", "),
  ]);
  printer.lines(table(columns, cells));
  return EXIT_OK;
}

async function test(name: string, { json }: ProvidersOptions): Promise<number> {
  const printer = createPrinter(json ?? false);
  const clock = createSystemClock();
  const all = createProviders({ clock, vendors: await vendorsOf(process.env) });
  const provider = all.find((one) => one.name === name);
  try {
    if (provider === undefined) throw usageError(`there is no provider ${name}`, "`rspp providers list` names them");
    if (provider.available?.() === false) {
      const variable = vendorCatalogue.find((one) => one.name === name)?.keyVariable;
      const hint = variable === undefined ? "see `rspp doctor`" : `set ${variable}`;
      throw usageError(`${name} is not configured here`, hint);
    }
    await provider.warm?.();
    const checks = await checkProvider(provider, clock);
    const bad = checks.filter(({ ok }) => !ok);
    printer.data({ ok: bad.length === 0, provider: name, checks });
    for (const { what, ok, detail, ms } of checks)
      printer.line(
        `${ok ? paint("green", "ok  ") : paint("red", "FAIL")} ${what}, ${ms.toFixed(0)} ms${ok ? "" : `: ${detail}`}`,
      );
    return bad.length === 0 ? EXIT_OK : EXIT_FAILED;
  } finally {
    for (const one of all) await one.close?.();
  }
}
