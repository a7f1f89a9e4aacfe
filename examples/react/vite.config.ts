import react from '@vitejs/plugin-react'
import {defineConfig} from 'vite'

const server = 'http://127.0.0.1:8001'

export default defineConfig({
  plugins: [react()],
  resolve: {dedupe: ['react']}, // pgbell is a link, outside of which there is none
  server: {proxy: {'/api': server, '/events': server}}, // for npm run dev
})
