import { randomBytes } from 'node:crypto'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { MeshNode, type MeshNodeOptions } from '../../src/index.js'
import { Contender, type Workload } from './contender.js'
import type { Workplace } from './workplace.js'

/** How long a game server works before it lets the event loop go round. */
const SLICE_MS = 4
/** Operations between two looks at the clock; fewer where the keys begin anew. */
const BURST = 256

export interface MeshContenders {
  readonly inMemory: Contender
  readonly journalled: Contender
}

export async function meshContenders(workplace: Workplace, workload: Workload): Promise<MeshContenders> {
  const start = async (name: string, journal: Pick<MeshNodeOptions, 'dataDir' | 'durability'>) => {
    const identity = { clusterId: 'bench', serverId: 'alone', secret: randomBytes(32) }
    const node = await MeshNode.start({ ...identity, ...journal })
    workplace.onClose(() => node.stop())
    return new MeshContender(name, workload, node)
  }
  const dataDir = await workplace.directory('journal')
  return {
    inMemory: await start('silo-mesh, in memory', { durability: 'memory' }),
    journalled: await start('silo-mesh, journalled (fdatasync, flushed at the end)', {
      dataDir,
      durability: 'group',
    }),
  }
}

/** One server of silo-mesh that has no peers. */
class MeshContender extends Contender {
  private readonly storage
  private next = 0

  constructor(
    name: string,
    workload: Workload,
    private readonly node: MeshNode,
  ) {
    super(name, workload)
    this.storage = node.storage('vault')
  }

  protected async fill(quantity: number): Promise<void> {
    for (const key of this.keys) this.storage.deposit(key, quantity)
    await this.node.flush()
  }

  protected async workUntil(endMs: number): Promise<number> {
    let operations = 0
    while (performance.now() < endMs) {
      operations += this.slice(performance.now() + SLICE_MS)
      await nextTurn()
    }
    await this.node.flush()
    return operations
  }

  protected async quantity(): Promise<bigint> {
    let sum = 0n
    for (const { quantity } of this.storage.items()) sum += quantity
    return sum
  }

  private slice(endMs: number): number {
    const { workload, storage, keys } = this
    let operations = 0
    do {
      const first = this.next
      const end = Math.min(first + BURST, keys.length)
      workload.burst(storage, keys, first, end)
      operations += end - first
      this.next = end === keys.length ? 0 : end
    } while (performance.now() < endMs)
    return operations
  }
}
