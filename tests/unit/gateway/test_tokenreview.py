"""The one question that the gateway asks Kubernetes, against a server that answers as an API server does."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from submodel_gateway.auth.pods import Pod
from submodel_gateway.errors import ConfigurationError, ReviewAway
from submodel_gateway.tokenreview import PATH, TokenReview
from tests.support.free_ports import free_port
from tests.support.pod_tokens import AUDIENCE, ReviewServer


@pytest.fixture
def server() -> Iterator[ReviewServer]:
    with ReviewServer().running() as server:
        yield server


@asynccontextmanager
async def asking(server: ReviewServer, folder: Path, **options: Any) -> AsyncIterator[TokenReview]:
    (folder / "token").write_text("own-token\n")
    review = TokenReview(server.url, folder, AUDIENCE, **options)
    yield review
    await review.close()


async def test_a_good_token_names_its_pod(server: ReviewServer, tmp_path: Path) -> None:
    server.vouch("good", "app-1", namespace="team")
    async with asking(server, tmp_path) as review:
        assert await review.review("good") == Pod("team", "app-1", "uid-app-1")
    (question,) = server.questions
    assert question["path"] == PATH
    assert (question["kind"], question["spec"]) == ("TokenReview", {"token": "good", "audiences": [AUDIENCE]})


async def test_its_own_token_is_read_anew_each_time_because_the_kubelet_renews_it(
    server: ReviewServer, tmp_path: Path
) -> None:
    async with asking(server, tmp_path) as review:
        await review.review("a")
        (tmp_path / "token").write_text("renewed")
        await review.review("b")
    assert server.credentials == ["Bearer own-token", "Bearer renewed"]


@pytest.mark.parametrize(
    "change",
    [
        {"authenticated": False},
        {"audiences": ["another"]},
        {"audiences": []},
        {"user": {"username": "system:node:n", "extra": {}}},
        {"user": {"username": "system:serviceaccount:team:default", "extra": {}}},
        {"user": {"username": "somebody", "extra": {"authentication.kubernetes.io/pod-name": ["p"]}}},
    ],
)
async def test_a_token_of_no_pod_or_for_somebody_else_is_none(
    server: ReviewServer, tmp_path: Path, change: dict[str, Any]
) -> None:
    server.vouch("token", "app-1")
    server.statuses["token"].update(change)
    async with asking(server, tmp_path) as review:
        assert await review.review("token") is None
        assert await review.review("unknown") is None


async def test_a_connection_that_ends_just_then_is_no_answer_and_the_question_is_put_again(
    server: ReviewServer, tmp_path: Path
) -> None:
    server.vouch("good", "app-1")
    async with asking(server, tmp_path) as review:
        server.dropped = 1
        assert await review.review("good") is not None
        server.dropped = 2
        with pytest.raises(ReviewAway, match="Server disconnected"):
            await review.review("good")


@pytest.mark.parametrize("status", [401, 403, 429, 500, 503, 307])
async def test_every_other_answer_says_nothing_about_the_token(
    server: ReviewServer, tmp_path: Path, status: int
) -> None:
    server.answer = status
    async with asking(server, tmp_path) as review:
        with pytest.raises(ReviewAway, match=f"answered {status}"):
            await review.review("secret-token")
        server.answer = None
        assert await review.review("secret-token") is None


async def test_nobody_there_and_no_json_say_nothing_either_and_no_token_is_in_the_words(
    server: ReviewServer, tmp_path: Path
) -> None:
    server.statuses["odd"] = {"authenticated": "perhaps"}
    async with asking(server, tmp_path) as review:
        with pytest.raises(ReviewAway) as told:
            await review.review("odd")
        (tmp_path / "token").unlink()
        with pytest.raises(ReviewAway, match="No such file"):
            await review.review("secret-token")
    (tmp_path / "token").write_text("own-token")
    away = TokenReview(f"http://127.0.0.1:{free_port()}", tmp_path, AUDIENCE)
    with pytest.raises(ReviewAway) as refused:
        await away.review("secret-token")
    await away.close()
    for error in (told, refused):
        assert not [secret for secret in ("secret-token", "own-token") if secret in str(error.value)]


def test_missing_files_are_told_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"token'"):
        TokenReview("https://api", tmp_path, AUDIENCE)
    (tmp_path / "token").write_text("own-token")
    with pytest.raises(ConfigurationError, match="worker tokens cannot be reviewed with what"):
        TokenReview("https://api", tmp_path, AUDIENCE)
