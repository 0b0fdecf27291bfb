/** `rspp`, the command line: 0 done, 1 ran and failed, 2 wrong usage or bad input, 3 the platform cannot be reached. */
import { EXIT_OK } from "./errors.ts";
import { tellFailure } from "./output/tell-failure.ts";
import { createProgram } from "./program.ts";

async function main(): Promise<number> {
  let status = EXIT_OK;
  try {
    await createProgram((s) => {
      status = s;
    }).parseAsync();
    return status;
  } catch (error) {
    return tellFailure(error, process.argv.includes("--json"));
  }
}

// A reader that has seen enough, as `| head`, is no failure.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code === "EPIPE") process.exit();
  throw error;
});

process.exitCode = await main();
// Connections to services stay open for further calls, of which there are none.
process.stdout.write("", () => process.exit());
