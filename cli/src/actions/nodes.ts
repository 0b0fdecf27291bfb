/** `rspp nodes`: what the packages in some folders declare (F-121). */
import type { PortDefinition } from "@rspp/kernel/graph";
import { EXIT_OK } from "../errors.ts";
import { openNodes } from "../node-packages.ts";
import { createPrinter } from "../output/printer.ts";
import { table } from "../output/table.ts";

export async function nodes(dirs: readonly string[], json: boolean): Promise<number> {
  const printer = createPrinter(json);
  const host = await openNodes(dirs);
  const packages = host?.packages() ?? [];
  printer.data({
    packages: packages.map(({ name, version, host: runs, scope, inputs, outputs, digest, description = "" }) => {
      const ports = { inputs, outputs };
      return { package: `${name}@${version}`, host: runs, scope, ...ports, digest, description };
    }),
  });
  const ports = (of: readonly PortDefinition[]): string => of.map(({ name, type }) => `${name}:${type}`).join(" ");
  const columns = ["PACKAGE", "HOST", "SCOPE", "TAKES", "GIVES", "DIGEST"].map((head) => ({ head }));
  const rows = packages.map(({ name, version, host: runs, scope, inputs, outputs, digest }) => {
    return [`${name}@${version}`, runs, scope, ports(inputs), ports(outputs), digest.slice(0, 12)];
  });
  printer.lines(table(columns, rows));
  await host?.close();
  return EXIT_OK;
}
