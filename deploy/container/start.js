// The container's entry: becomes the service that RSPP_SERVICE names, with the arguments it was given.
import { readdirSync } from "node:fs";

const services = readdirSync(new URL("services", import.meta.url)).sort();
const { RSPP_SERVICE: service = "" } = process.env;
if (services.includes(service)) {
  await import(new URL(`services/${service}/src/main.js`, import.meta.url).href);
} else {
  console.error(
    `RSPP_SERVICE is ${service === "" ? "not set" : `"${service}"`}: set it to one of ${services.join(", ")}`,
  );
  process.exitCode = 2;
}
