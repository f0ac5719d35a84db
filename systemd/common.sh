# Where things are, for the scripts beside this file. Sourced by bash; sets `user` to yes or no, and the paths.
# shellcheck shell=bash disable=SC2034

say() { printf 'hearth: %s\n' "$*"; }
die() {
  printf 'hearth: %s\n' "$*" >&2
  exit 1
}

# choose_paths yes|no: for the person who calls (yes), or for the whole machine.
choose_paths() {
  user=$1
  if [ "$user" = yes ]; then
    [ "$(id -u)" -ne 0 ] || die "--user is for the person at the desktop: run it without sudo"
    prefix=${XDG_DATA_HOME:-$HOME/.local/share}/hearth
    config=${XDG_CONFIG_HOME:-$HOME/.config}/hearth
    state=${XDG_STATE_HOME:-$HOME/.local/state}/hearth
    units=${XDG_CONFIG_HOME:-$HOME/.config}/systemd/user
    unit_source=hearth-user.service
    systemctl=(systemctl --user)
    journal="journalctl --user -u hearth"
  else
    [ "$(id -u)" -eq 0 ] || die "run this as root: sudo $0"
    prefix=/opt/hearth
    config=/etc/hearth
    state=/var/lib/hearth
    units=/etc/systemd/system
    unit_source=hearth.service
    systemctl=(systemctl)
    journal="journalctl -u hearth"
  fi
}

# Whether a service manager runs that may be asked to start something.
manager_runs() {
  if [ "$user" = yes ]; then
    systemctl --user show-environment >/dev/null 2>&1
  else
    [ -d /run/systemd/system ]
  fi
}

reload_manager() { if manager_runs; then "${systemctl[@]}" daemon-reload; fi; }
