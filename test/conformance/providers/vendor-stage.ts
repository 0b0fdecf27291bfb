/** Any vendor of the catalogue over its fake, as the suite's stage has it. */
import type { Clock } from "@rspp/ports/clock";
import { vendorCatalogue } from "@rspp/provider-gateway/vendors/catalogue";
import type { VendorEntry } from "@rspp/provider-gateway/vendors/vendor";
import { fakeVendors } from "../../fakes/all.ts";
import type { Fake } from "../../fakes/fake.ts";
import type { Stage } from "./suite.ts";

export interface VendorStage extends Stage {
  readonly fake: Fake;
}

/** Vendors that have both a line in the catalogue and a fake. */
export const fakedVendors: readonly VendorEntry[] = vendorCatalogue.filter(({ name }) => name in fakeVendors);

export async function vendorStage(entry: VendorEntry, clock: Clock): Promise<VendorStage> {
  const vendor = fakeVendors[entry.name];
  if (vendor === undefined) throw new TypeError(`${entry.name} has no fake`);
  const fake = await vendor.start();
  const create = await entry.load();
  const { baseUrl } = fake;
  const provider = create({ clock, baseUrl, key: () => fake.key, options: vendor.options ?? {} });
  await provider.warm?.();
  return {
    provider,
    fake,
    fault: (kind, calls) => fake.fault(kind, calls),
    script: (answer) => fake.script(answer),
    close: () => fake.close(),
  };
}

/** Milliseconds from a cancel in the middle of an answer to the end of the vendor's call, as the vendor sees it. */
export async function cancelMs(
  stage: VendorStage,
  open: () => { readonly started: Promise<boolean>; cancel(): void },
): Promise<number | undefined> {
  const before = stage.fake.calls.length;
  const { started, cancel } = open();
  if (!(await started)) return undefined;
  const atMs = performance.now();
  cancel();
  const calls = stage.fake.calls.slice(before);
  const endMs = atMs + 5_000;
  while (calls.some(({ closedMs }) => closedMs === undefined)) {
    if (performance.now() > endMs) return Number.POSITIVE_INFINITY;
    await new Promise((resolve) => setImmediate(resolve));
  }
  if (calls.some(({ closedBy }) => closedBy !== "client")) return Number.NaN;
  return Math.max(0, ...calls.map(({ closedMs = 0 }) => closedMs - atMs));
}
