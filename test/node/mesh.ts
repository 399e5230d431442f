import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'
import { MeshNode, type MeshNodeOptions } from '../../src/index.js'

/** A strong group that elects and heals within a second. */
export const RAFT = { heartbeatMs: 20, electionMs: 150, voterGraceMs: 500 }
export const SECRET = new Uint8Array(32).fill(7)

/** Real nodes on loopback with quick intervals; everything is stopped and removed at the end of the test. */
export class TestMesh {
  readonly directory = mkdtempSync(join(tmpdir(), 'silo-mesh-test-'))
  private readonly running = new Set<MeshNode>()

  constructor(t: Test) {
    t.teardown(() => this.close())
  }

  start(serverId: string, options: Partial<MeshNodeOptions> = {}): Promise<MeshNode> {
    return this.startInMemory(serverId, { dataDir: join(this.directory, serverId), ...options })
  }

  /** A memory-only node, unless the options name a directory. */
  async startInMemory(serverId: string, options: Partial<MeshNodeOptions> = {}): Promise<MeshNode> {
    const node = await MeshNode.start({
      clusterId: 'test',
      serverId,
      secret: SECRET,
      listen: { host: '127.0.0.1', port: 0 },
      syncIntervalMs: 100,
      heartbeatIntervalMs: 100,
      rejoinGraceMs: 300,
      ...options,
    })
    this.running.add(node)
    node.on('stopped', () => this.running.delete(node))
    return node
  }

  /** Servers of these names that know no more than the first; resolves when each is linked with every other. */
  async linked<Name extends string>(
    servers: Readonly<Record<Name, Partial<MeshNodeOptions>>>,
  ): Promise<Record<Name, MeshNode>> {
    const nodes: MeshNode[] = []
    for (const [name, options] of Object.entries<Partial<MeshNodeOptions>>(servers)) {
      const peers = nodes.slice(0, 1).map(({ address }) => address)
      nodes.push(await this.start(name, { peers, ...options }))
    }
    await Promise.all(nodes.map((node) => node.ready))
    const links = nodes.length - 1
    await until(() => nodes.every((node) => node.members().filter(({ linked }) => linked).length === links))
    return Object.fromEntries(nodes.map((node) => [node.identity.serverId, node])) as Record<Name, MeshNode>
  }

  /** Three servers that are voters of one strong group. */
  async voters(): Promise<[MeshNode, MeshNode, MeshNode]> {
    const raft = RAFT
    const { a, b, c } = await this.linked({ a: { found: true, raft }, b: { raft }, c: { raft } })
    await until(() => a.raft()?.peers.filter(({ voter }) => voter).length === 3)
    return [a, b, c]
  }

  private async close(): Promise<void> {
    await Promise.all([...this.running].map((node) => node.stop()))
    rmSync(this.directory, { recursive: true, force: true })
  }
}

/** Waits until the condition holds; the test's own timeout is the limit. */
export async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 10))
}

/** Equal vectors and equal checksums in all partitions that both have, and no own writes beside these. */
export function converged(...nodes: MeshNode[]): boolean {
  const views = nodes.map((node) => node.status().partitions.filter(({ partition }) => partition === ''))
  const texts = views.map((partitions) =>
    JSON.stringify(
      partitions.map(({ versionVector, checksum, settled }) => [
        Object.entries(versionVector).sort(([left], [right]) => (left < right ? -1 : 1)),
        checksum,
        settled,
      ]),
    ),
  )
  const areNumbered = views.every((partitions) => partitions.every(({ unnumbered }) => unnumbered === 0))
  return areNumbered && texts.every((text) => text === texts[0])
}
