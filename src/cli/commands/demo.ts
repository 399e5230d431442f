import type { Command } from 'commander'
import type { CommandContext } from '../context.js'
import { addJson } from './common.js'

export function addDemo(
  program: Command,
  _context: CommandContext,
  _setExitCode: (code: number) => void,
): void {
  addJson(program.command('demo'))
}
