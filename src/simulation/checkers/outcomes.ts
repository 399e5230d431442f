import type { Run } from '../run/run.js'
import type { Checker } from './checker.js'

/** No operation stays without an outcome for ever (O1): its process died, or it was told something. */
export function outcomes(run: Run): Checker {
  return {
    invariants: ['O1'],
    atEnd() {
      for (const open of run.openQuestions()) {
        run.fail(
          'O1',
          `${open.what} on s${open.server} has had no outcome since ${open.atUs / 1000} ms`,
          open.server,
        )
      }
    },
  }
}
