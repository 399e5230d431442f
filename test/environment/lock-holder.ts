/** A process of its own that takes the lock of a directory, says so, and holds it until it is killed. */
import { createRealDisk } from '../../src/environment/real-disk.js'

const directory = process.argv[2] ?? ''
createRealDisk()
  .lock(directory)
  .then(
    () => {
      process.stdout.write('held\n')
      setInterval(() => {}, 1000)
    },
    (error: unknown) => {
      process.stdout.write(`${error instanceof Error ? error.message : error}\n`)
    },
  )
