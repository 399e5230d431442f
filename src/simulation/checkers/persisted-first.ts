import { Acknowledgements } from '../../gossip/acknowledgements.js'
import type { MeshNode } from '../../node/mesh-node.js'
import type { Server } from '../cluster/server.js'
import type { Run } from '../run/run.js'
import type { Checker } from './checker.js'

/**
 * Nothing leaves a server before its journal holds it: neither its own writes (J1) nor the acknowledgement of
 * others' (J3). It shows after a crash: whoever is heard to have, or to have written, must have it again.
 */
export function persistedFirst(run: Run): Checker {
  /** Server name → partition and replica → the highest number it told somebody that it holds. */
  const told = new Map<string, Map<string, number>>()
  run.override(Acknowledgements.prototype, 'raise', (original) => {
    return function (this: Acknowledgements, server, partition, replica, number) {
      const topics = told.get(server) ?? new Map<string, number>()
      told.set(server, topics)
      const topic = `${partition}\n${replica}`
      topics.set(topic, Math.max(number, topics.get(topic) ?? 0))
      return original.call(this, server, partition, replica, number)
    }
  })
  run.onRunning((server, node) => {
    if (run.options.durability[server.number] === 'memory' || run.ledger.hasForgotten(server.number)) {
      told.delete(server.name)
      return
    }
    compare(run, server, node, told.get(server.name) ?? new Map())
    node.on('incarnation', ({ replica, before }) => {
      if (run.ledger.hasForgotten(server.number)) return
      run.fail(
        'J1',
        `${server.name} had told others of writes of ${before} that it lost; now ${replica}`,
        server.number,
      )
    })
  })
  return { invariants: ['J1', 'J3'] }
}

function compare(
  run: Run,
  server: Server<MeshNode>,
  node: MeshNode,
  told: ReadonlyMap<string, number>,
): void {
  const status = node.status()
  for (const [topic, number] of told) {
    const [partition, replica] = topic.split('\n') as [string, string]
    const vector = status.partitions.find((candidate) => candidate.partition === partition)?.versionVector
    const kept = vector?.[replica] ?? 0
    if (kept >= number) continue
    run.fail(
      'J3',
      `${server.name} acknowledged ${replica} up to ${number} and has ${kept} after a restart`,
      server.number,
    )
  }
}
