import type { StateMachine } from '../../raft/state-machine/state-machine.js'
import { StrongGroup } from '../../strong/strong-group.js'
import { encodeMessage } from '../../wire/encode.js'
import type { WireTuple } from '../../wire/wire-value.js'
import { hashBytes, hashText } from '../kernel/hash.js'
import type { Run } from '../run/run.js'
import { groupOf, strongOf } from '../strong/access.js'
import type { Checker } from './checker.js'

/** Members apply the same commands at the same places of the log, with the same results (RAFT-11), and thereby have
 * the same state at the same place (RAFT-12): log matching and state-machine safety. */
export function equalLogs(run: Run): Checker {
  const entries = new Map<string, number>()
  const states = new Map<string, { readonly hash: number; readonly server: number }>()
  const seen = new Map<number, number>()
  run.override(StrongGroup.prototype, 'applied', (original) => {
    return function (this: StrongGroup, index, request, result) {
      const place = `${groupOf(this)} index ${index}`
      const bytes = request === undefined ? new Uint8Array() : encodeMessage(request)
      const hash = hashText(JSON.stringify(result), hashBytes(bytes))
      const before = entries.get(place) ?? hash
      entries.set(place, before)
      if (before !== hash) {
        run.fail(
          'RAFT-11',
          `two members apply different commands or get different results at ${place}`,
          undefined,
        )
      }
      original.call(this, index, request, result)
    }
  })
  return {
    invariants: ['RAFT-11', 'RAFT-12'],
    observe() {
      for (const server of run.cluster.servers) {
        if (server.node === undefined) continue
        const strong = strongOf(server.node)
        const { machine } = strong as unknown as { machine: StateMachine }
        const { appliedIndex } = machine
        if (appliedIndex === 0 || seen.get(server.number) === appliedIndex) continue
        seen.set(server.number, appliedIndex)
        const place = `${groupOf(strong)} index ${appliedIndex}`
        const hash = hashOfState(machine)
        const other = states.get(place) ?? { hash, server: server.number }
        states.set(place, other)
        if (other.hash === hash) continue
        run.fail('RAFT-12', `s${other.server} and ${server.name} differ at ${place}`, server.number)
      }
    },
  }
}

function hashOfState(machine: StateMachine): number {
  let hash = machine.revision
  for (const chunk of machine.snapshot())
    hash = hashText(String(hashBytes(encodeMessage(chunk as WireTuple))), hash)
  return hash
}
