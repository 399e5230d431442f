import { processContext } from './context.js'
import { run } from './program.js'

/** The program `silo-mesh`. */
export async function main(): Promise<void> {
  // A reader that has seen enough (`silo-mesh watch | head`) is no error.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit()
    throw error
  })
  process.exitCode = await run(process.argv.slice(2), processContext())
}
