// By pgbell types.
import 'pgbell'

declare module 'pgbell' {
  interface Lives {
    "react_tasks.open_tasks": {
      args: {}
      row: {project: number | null; open: number | string | null}
    }
  }
}
